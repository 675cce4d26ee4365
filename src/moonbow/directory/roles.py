"""Who may add, change or remove whom.

Laws: nobody acts on another company; nobody gives a role that they could not take away; nobody changes their own
role, and an owner does not erase themselves, so a company always keeps an owner; members and guests act on
themselves only.
"""

from __future__ import annotations

from dataclasses import dataclass

from moonbow.wire.values import Role

RANK: dict[Role, int] = {"guest": 0, "member": 1, "admin": 2, "owner": 3}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, or who is acted on: id, company and present role."""

    person: str
    company: str
    role: Role


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether it may be done, and why, as a sentence for the caller."""

    allowed: bool
    reason: str


ALLOWED = Decision(True, "allowed")


def decide_add(actor: Actor, role: Role) -> Decision:
    """Whether `actor` may add a colleague with `role`."""
    if RANK[actor.role] < RANK["admin"]:
        return Decision(False, "only owners and admins add people")
    return _handles(actor.role, role, "give")


def decide_change(
    actor: Actor, target: Actor, *, role: Role | None = None, name: bool = False, password: bool = False
) -> Decision:
    """Whether `actor` may change `target`: to `role` if given, their name, their password."""
    if actor.company != target.company:
        return Decision(False, "this person belongs to another company")
    if not (role or name or password):
        return Decision(False, "nothing is asked to be changed")
    if actor.person == target.person:
        if role is not None and role != target.role:
            return Decision(False, "nobody changes their own role")
        return ALLOWED
    handled = _may_handle(actor, target)
    if not handled.allowed or role is None:
        return handled
    return _handles(actor.role, role, "give")


def decide_erase(actor: Actor, target: Actor) -> Decision:
    """Whether `actor` may erase `target` and everything they wrote."""
    if actor.company != target.company:
        return Decision(False, "this person belongs to another company")
    if actor.person == target.person:
        if actor.role == "owner":
            return Decision(False, "an owner is erased by another owner only")
        return ALLOWED
    return _may_handle(actor, target)


def decide_see_erasure(actor: Actor, company: str) -> Decision:
    """Whether `actor` may see that somebody of `company` was erased."""
    if RANK[actor.role] < RANK["admin"] or actor.company != company:
        return Decision(False, "only owners and admins of the person's company see it")
    return ALLOWED


def _may_handle(actor: Actor, target: Actor) -> Decision:
    if RANK[actor.role] < RANK["admin"]:
        return Decision(False, "only owners and admins change other people")
    return _handles(actor.role, target.role, "change a person with")


def _handles(actor: Role, role: Role, verb: str) -> Decision:
    if actor == "owner" or RANK[role] < RANK[actor]:
        return ALLOWED
    return Decision(False, f"only an owner may {verb} the role {role}")
