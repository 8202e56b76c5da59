#pragma once

#include <string>
#include <vector>

namespace sluice::ctl {

/// Rows for people: columns as wide as what is in them, two blanks between.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) : rows_{std::move(headings)} {}

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// With a line break after each row, and no blanks at their ends. Without rows only `none`.
  std::string to_string(const std::string& none) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace sluice::ctl
