#include "policy/reason.h"

namespace sluice::policy {

namespace {

std::string_view without_rule(Action action, Judged judged) {
  bool is_allowed = action == Action::allow;
  switch (judged) {
    case Judged::lookup:
      return is_allowed ? "rules on addresses let any name be resolved"
                        : "no rule lets this name be resolved";
    case Judged::named_flow:
      return is_allowed ? "no rule denies this name" : "no rule allows this name at this address";
    case Judged::flow:
      break;
  }
  return is_allowed ? "no rule denies it" : "no rule allows it";
}

}  // namespace

std::string_view reason_of(const Verdict& verdict, Judged judged) {
  if (verdict.basis == Basis::encrypted_dns) {
    return "encrypted DNS is refused where rules are on names, unless a rule names it or "
           "--encrypted-dns is allow";
  }
  if (verdict.basis == Basis::dns_service) {
    return "the gateway's DNS service is open, since rules need names";
  }
  if (verdict.rule < 0) return without_rule(verdict.action, judged);
  if (judged == Judged::named_flow && !verdict.allowed()) return "a rule denies this name";
  return verdict.allowed() ? "a rule allows it" : "a rule denies it";
}

}  // namespace sluice::policy
