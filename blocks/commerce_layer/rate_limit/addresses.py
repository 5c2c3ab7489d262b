"""
The address of a shared store, which may hold a password: an error about it shows no part of it.

The drivers read addresses more loosely. They take the beginning of a password with a slash for a port, and repeat it in
their errors. They take the end of one with an @ for the host, and ask the name system for it.
"""

import re

SCHEMES = ("redis", "rediss", "postgresql", "postgres")

LAST_PORT = 65_535

UNREADABLE = (
    "cannot be read. It is redis://user:password@host:6379/0 or postgresql://user:password@host:5432/database; "
    "in the user and the password write / as %2F, @ as %40, # as %23, ? as %3F, % as %25, "
    "and other special characters likewise"
)

_SPELT = r'(?:[!"$&-.0-9;<=>A-Z\\^-~]|%[0-9A-Fa-f]{2})'
"""A character that ends nothing in an address, or a spelt one."""
_HOST = r"(?:(?:[0-9A-Za-z._~-]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_ADDRESS = re.compile(
    rf"(?:{'|'.join(SCHEMES)})://(?:{_SPELT}*(?::(?:{_SPELT}|:)*)?@)?(?P<hosts>{_HOST}(?:,{_HOST})*)?"
    r'(?:[/?][!"$-?A-~]*)?'  # the database and the options: everything but @ and #
)


def checked(address: str) -> str:
    """
    The address, if the drivers read it as it is meant.

    Raises:
        ValueError: it names another kind of store, or something in it is to be spelt.
    """
    if not address.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        raise ValueError("must start with redis://, rediss:// or postgresql://")
    read = _ADDRESS.fullmatch(address)
    if read is None or any(int(port) > LAST_PORT for port in re.findall(r":(\d+)(?=,|$)", read["hosts"] or "")):
        raise ValueError(UNREADABLE)
    return address
