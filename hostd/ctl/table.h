#pragma once

#include <string>
#include <vector>

namespace sluice::ctl {

/// Rows for people: columns as wide as what is in them, two blanks between.
class Table {
 public:
  /// `numbers`: the columns, from 0, that end rather than begin in one line.
  explicit Table(std::vector<std::string> headings, std::vector<std::size_t> numbers = {})
      : rows_{std::move(headings)}, numbers_(std::move(numbers)) {}

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// With a line break after each row, and no blanks at their ends. Without rows only `none`.
  std::string to_string(const std::string& none) const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> numbers_;
};

}  // namespace sluice::ctl
