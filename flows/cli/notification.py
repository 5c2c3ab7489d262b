"""Where alarms are sent: a URL, for which a webhook block is made, or a notification block that exists."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from prefect.blocks.core import Block
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.events.actions import CallWebhook, SendNotification
from prefect.exceptions import ObjectNotFound

WEBHOOK = "perennial-alarms"
"""Name of the webhook block that is made for a URL."""

ANSWERS_WITHIN = 10.0
"""Seconds that a webhook has for its answer."""

GREETING = "Perennial's alarms will arrive here."

HEADERS = {"Content-Type": "application/json"}


class CannotNotify(ValueError):  # noqa: N818 - the name says what happened
    """Alarms cannot be sent there; the message says why, and the way out. It never carries the URL's path."""


@dataclass(frozen=True)
class Recipient:
    """A block that alarms are sent through, e.g. `slack-webhook/ops`."""

    block_type: str
    name: str
    block_id: UUID

    @property
    def label(self) -> str:
        """`slack-webhook/ops`."""
        return f"{self.block_type}/{self.name}"

    def action(self, alarm: str, text: str) -> CallWebhook | SendNotification:
        """What an automation does to send an alarm. `text` is a Jinja expression, e.g. `"a" ~ event.id`."""
        if self.block_type == "webhook":
            # Slack, Mattermost and Teams all show the `text` of what is posted to them.
            payload = f'{{"text": {{{{ ({text}) | tojson }}}}, "alarm": "{alarm}"}}'
            return CallWebhook(type="call-webhook", block_document_id=self.block_id, payload=payload)
        body = f"{{{{ {text} }}}}"
        return SendNotification(
            type="send-notification", block_document_id=self.block_id, subject=f"Perennial: {alarm}", body=body
        )


async def recipient_of(prefect: PrefectClient, url_or_block: str) -> Recipient:
    """
    The block that alarms are to be sent through, after a first message was sent to it.

    Args:
        prefect: the API in which the block is.
        url_or_block: `https://...`, the name of a block, or its type and name: `slack-webhook/ops`.

    Raises:
        CannotNotify: there is no such block, it cannot notify, or the message did not arrive.
    """
    if urlsplit(url_or_block).scheme in {"http", "https"}:
        await _post(url_or_block)
        return await _webhook_for(prefect, url_or_block)
    document = await _document_of(prefect, url_or_block)
    recipient = _recipient(document)
    await _greet(recipient, prefect)
    return recipient


async def reach(prefect: PrefectClient, block_id: UUID) -> Recipient:
    """
    The block that an automation uses; sends nothing, but makes sure that something listens where it points to.

    Raises:
        CannotNotify: the block is gone, or nothing listens there.
    """
    try:
        recipient = _recipient(await prefect.read_block_document(block_id))
    except ObjectNotFound:
        raise CannotNotify("the block that it notifies through does not exist any more") from None
    if recipient.block_type == "webhook":
        url = urlsplit(await _url_of(recipient.name, prefect))
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
            socket.create_connection((url.hostname or "", port), ANSWERS_WITHIN).close()
        except OSError as error:
            raise CannotNotify(f"nothing listens at {url.scheme}://{url.netloc} ({error.strerror or error})") from None
    return recipient


def _recipient(document: BlockDocument) -> Recipient:
    kind = document.block_type.slug if document.block_type else ""
    capabilities = document.block_schema.capabilities if document.block_schema else []
    if kind != "webhook" and "notify" not in capabilities:
        raise CannotNotify(
            f"the block {kind}/{document.name} cannot send notifications; choose a webhook or a notification block, "
            "e.g. one for Slack"
        )
    return Recipient(kind, str(document.name), document.id)


async def _document_of(prefect: PrefectClient, name: str) -> BlockDocument:
    kind, _, own_name = name.rpartition("/")
    found = [
        document
        for document in await prefect.read_block_documents(include_secrets=False, limit=None)
        if document.name == own_name and document.block_type and kind in {"", document.block_type.slug}
    ]
    able = [each for each in found if _can_notify(each)]
    match able or found:
        case [one]:
            return one
        case []:
            raise CannotNotify(
                f"there is no block {name!r} on this Prefect server: make a notification block in the UI (Blocks), "
                "or give the URL of a webhook (https://...)"
            )
    kinds = ", ".join(sorted(f"{each.block_type.slug}/{own_name}" for each in able or found if each.block_type))
    raise CannotNotify(f"there are several blocks named {own_name!r}; say which: {kinds}")


def _can_notify(document: BlockDocument) -> bool:
    try:
        return bool(_recipient(document))
    except CannotNotify:
        return False


async def _webhook_for(prefect: PrefectClient, url: str) -> Recipient:
    try:
        before = await _url_of(WEBHOOK, prefect)
    except ValueError:  # there is none yet
        before = ""
    if before != url:
        block = Webhook.model_validate({"method": "POST", "url": url, "headers": HEADERS})
        await block.asave(WEBHOOK, overwrite=True, client=prefect)
    return _recipient(await prefect.read_block_document_by_name(WEBHOOK, "webhook"))


async def _url_of(webhook: str, prefect: PrefectClient) -> str:
    block: Webhook = await Webhook.aload(webhook, client=prefect)
    return block.url.get_secret_value()


async def _greet(recipient: Recipient, prefect: PrefectClient) -> None:
    if recipient.block_type == "webhook":
        await _post(await _url_of(recipient.name, prefect))
        return
    block = await Block.aload(recipient.label, client=prefect)
    try:
        await block.notify(body=GREETING, subject="Perennial")  # type: ignore[attr-defined] # it has the capability
    except Exception as error:  # noqa: BLE001 - whatever its service raises; the text may carry the secret address
        raise CannotNotify(f"the block {recipient.label} could not notify: {type(error).__name__}") from None


async def _post(url: str) -> None:
    where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc.rpartition('@')[2]}"  # the path may be a secret
    try:
        async with httpx.AsyncClient(timeout=ANSWERS_WITHIN) as client:
            answer = await client.post(url, json={"text": GREETING, "alarm": "none: a first message"})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CannotNotify(
            f"the webhook at {where} cannot be reached ({type(error).__name__}): check the address"
        ) from None
    if answer.is_error:
        raise CannotNotify(f"the webhook at {where} answered {answer.status_code}: check the address")
