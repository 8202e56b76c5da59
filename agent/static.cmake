# How `agent` becomes one static program that needs nothing at run time. The rooms come as objects and not
# as libraries, which would bring their shared dependencies along.
find_library(LIBUV_STATIC NAMES libuv_a.a REQUIRED)
sluice_static_fmt(agent_fmt)
target_compile_options(agent_fmt PRIVATE ${agent_options})

# Of libnet's rooms what is used, compiled for size like ours: base, wire without what looks into HTTP, QUIC
# and TLS, and of dns what reads queries and writes replies.
foreach(room base wire dns)
  get_target_property(files sluice_${room} SOURCES)
  get_target_property(folder sluice_${room} SOURCE_DIR)
  if(room STREQUAL wire)
    list(FILTER files EXCLUDE REGEX "(hpack|http|quic|tls)[0-9a-z_]*[.]cpp$")
  elseif(room STREQUAL dns)
    list(FILTER files INCLUDE REGEX "(answer|local_zone|query)[.]cpp$")
  endif()
  foreach(file ${files})
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${folder})
    list(APPEND libnet_files ${file})
  endforeach()
endforeach()
sluice_agent_room(libnet ${libnet_files})
# Whoever reads the sources by what they are compiled with has them once, in libnet.
set_target_properties(sluice_agent_libnet PROPERTIES UNITY_BUILD OFF EXPORT_COMPILE_COMMANDS OFF)
add_library(agent_libnet STATIC $<TARGET_OBJECTS:sluice_agent_libnet>)
foreach(room ${rooms})
  target_sources(agent PRIVATE $<TARGET_OBJECTS:sluice_agent_${room}>)
endforeach()
target_sources(agent PRIVATE
  $<TARGET_OBJECTS:sluice_agent_proto> $<TARGET_OBJECTS:nanopb> $<TARGET_OBJECTS:agent_fmt> static_exceptions.cpp
  static_libc.cpp static_zstd.cpp ${PROJECT_SOURCE_DIR}/third_party/glibc/no_shared_libraries.cpp)
target_link_libraries(agent PRIVATE agent_libnet ${LIBUV_STATIC} ${JANSSON_STATIC} ${NETTLE_STATIC}
  ${ZLIB_STATIC} ${ZSTD_STATIC} Threads::Threads)
target_link_options(agent PRIVATE -static -Wl,--wrap=dlopen -Wl,--gc-sections -Wl,--no-eh-frame-hdr
  -Wl,-T,${CMAKE_CURRENT_SOURCE_DIR}/without_unwind_tables.ld)
set_property(TARGET agent APPEND PROPERTY LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/without_unwind_tables.ld)
set_target_properties(agent PROPERTIES POSITION_INDEPENDENT_CODE OFF LINKER_LANGUAGE CXX)
