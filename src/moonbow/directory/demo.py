"""The people of a first start: who they are, where they rest, what they sign in with.

Laws: the same world and words give the same company; everybody's region is one of the company's; a sealed region has a
company of its own and people of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from moonbow.wire.values import Role
from moonbow.world import World

NAMES = (
    "Ada Okafor", "Kenji Watanabe", "Zofia Kowalska", "Priya Raman", "Mehmet Yıldız", "Leilani Kahale",
    "Inti Quispe", "Tariq Haddad", "Aroha Ngata", "Astrid Søgaard", "Thandiwe Mokoena", "Linh Nguyễn",
)  # fmt: skip
_WORDS = (
    "acorn amber anchor apple arrow aspen atlas autumn bamboo basil beacon birch bison blossom boat bramble "
    "breeze brook candle canyon cedar cherry cinder citrus clay cliff clover cloud cobalt comet copper coral "
    "cotton crane creek cricket crystal cypress dahlia dawn delta desert dolphin dove dragon drift dune eagle "
    "ember falcon feather fern field finch fjord flame flint flute forest fossil fox garden garnet ginger glacier "
    "glade granite grape harbor harvest hazel heron hill honey horizon iris island ivory ivy jasmine juniper "
    "kestrel kiwi lagoon lake lantern lark lavender lemon lichen lilac lily linen lotus lunar lynx magnet mango "
    "maple marble meadow melon mint mirror mist monsoon moss mountain nectar nettle night north oasis ocean olive "
    "onyx opal orbit orchard orchid otter owl pearl pebble pepper petal pine planet plum pollen poppy prairie "
    "prism quail quartz quill rain raven reed reef ridge river robin rose rowan ruby saffron sage salmon sand "
    "sapphire sea shell silver sky slate snow solar sparrow spice spring spruce starling stone storm stream "
    "summer sun swan tea thistle thunder tide tiger topaz tulip tundra valley velvet violet walnut water wave "
    "wheat willow wind winter wolf wren yarrow zephyr "
)
WORDS = tuple(_WORDS.split())
PHRASE_WORDS = 5
SEALED_PEOPLE_MAX = 3
Choose = Callable[[Sequence[str]], str]


class DemoPerson(msgspec.Struct, frozen=True, kw_only=True):
    """One person of the demo and how they sign in.  Known to the operator only."""

    name: str
    login: str
    password: str
    role: Role
    region: str


class DemoCompany(msgspec.Struct, frozen=True, kw_only=True):
    """A company of the demo.  `home` is the single writer of its logins."""

    id: str
    name: str
    home: str
    sealed: bool
    people: tuple[DemoPerson, ...]


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """What STATE/world/demo.json holds."""

    companies: tuple[DemoCompany, ...]


def plan_demo(world: World, choose: Choose, name_company: Callable[[str], str]) -> Demo:
    """One company over the open regions, and one in each sealed region.

    `choose` picks one of the words; `name_company` makes the id of a company from its home region.
    """
    people_max = min(world.company.people_max, len(NAMES))
    shared = [name for name, region in world.regions.items() if not region.sealed]
    plans = [(world.company.name, shared, False, "lunar.example")] if shared else []
    plans += [
        (f"{world.company.name} ({region.title})", [name], True, f"{name}.lunar.example")
        for name, region in world.regions.items()
        if region.sealed
    ]
    return Demo(
        companies=tuple(
            DemoCompany(
                id=name_company(regions[0]),
                name=name,
                home=regions[0],
                sealed=sealed,
                people=_people(regions, min(people_max, SEALED_PEOPLE_MAX) if sealed else people_max, domain, choose),
            )
            for name, regions, sealed, domain in plans
        )
    )


def _people(regions: Sequence[str], count: int, domain: str, choose: Choose) -> tuple[DemoPerson, ...]:
    """`count` people dealt over `regions` in turn: the first an owner, the second an admin, the last a guest."""
    return tuple(
        DemoPerson(
            name=name,
            login=f"{name.split()[0].lower()}@{domain}",
            password="-".join(choose(WORDS) for _ in range(PHRASE_WORDS)),
            role=_role(no, count),
            region=regions[no % len(regions)],
        )
        for no, name in enumerate(NAMES[:count])
    )


def _role(no: int, count: int) -> Role:
    if no == 0:
        return "owner"
    if no == 1:
        return "admin"
    return "guest" if no == count - 1 else "member"
