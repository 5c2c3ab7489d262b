"""Raised where a person names a subscription that the shop does not have."""


class NoSuchSubscription(LookupError):  # noqa: N818 - the name says what happened
    """The shop has no subscription with this id, or none was named. Nothing was done."""
