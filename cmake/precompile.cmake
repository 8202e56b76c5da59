# With SLUICE_PRECOMPILE the headers that most files include are compiled once for all, which halves the
# time of a build from nothing. The sanitizer builds do that, and every build's unit tests: the programs
# and libraries of the release build, which don't, show that each file includes what it uses.
option(SLUICE_PRECOMPILE "Compile the standard library's headers once for all" OFF)

# sluice_precompiled_headers(NAME HEADER...): a target that holds them, for sluice_precompile().
function(sluice_precompiled_headers name)
  if(NOT SLUICE_PRECOMPILE)
    return()
  endif()
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp CONTENT "")
  add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE sluice_options)
  target_precompile_headers(${name} PRIVATE ${ARGN})
  # The same bytes each time, or ccache knows nothing that includes it.
  target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>)
endfunction()

# sluice_precompile(TARGET NAME): TARGET is compiled with the headers that NAME holds. Its flags must be
# those of NAME.
function(sluice_precompile target name)
  if(SLUICE_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()
