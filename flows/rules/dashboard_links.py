"""
Addresses of Commerce Layer's dashboard, where staff look at an order or a subscription.

Source: github.com/commercelayer/dashboard-apps, `routes.ts` of the apps `orders` and `subscriptions` (`/list/:id/`),
below `https://dashboard.commercelayer.io/{mode}/{slug}/apps/{app}`.
"""

from dataclasses import dataclass
from urllib.parse import quote

DASHBOARD = "https://dashboard.commercelayer.io"


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The dashboard of one organization (slug) in one mode (`test` or `live`)."""

    organization: str
    mode: str

    def order(self, order_id: str) -> str:
        """The page of an order."""
        return self._page("orders", order_id)

    def subscription(self, subscription_id: str) -> str:
        """The page of a subscription."""
        return self._page("subscriptions", subscription_id)

    def _page(self, app: str, resource_id: str) -> str:
        parts = (self.mode, self.organization, "apps", app, "list", resource_id)
        return "/".join((DASHBOARD, *(quote(part, safe="") for part in parts)))
