"""Does what the lines on standard input say with the published SDK, and answers each with a line."""

import json
import os
import sys

from e2b import Sandbox, SandboxQuery

SPELLING = {
    "allowOut": "allow_out",
    "denyOut": "deny_out",
    "egressProxy": "egress_proxy",
    "allowPublicTraffic": "allow_public_traffic",
    "maskRequestHost": "mask_request_host",
    "httpsPorts": "https_ports",
    "allowInternetAccess": "allow_internet_access",
}


def selected(network):
    """A network configuration; functions choose from what the SDK gives them."""
    chooses = network.pop("chooses", None)
    spelled = {SPELLING.get(name, name): value for name, value in network.items()}
    if chooses is not None:
        also = chooses.get("alsoAllow", [])
        spelled["allow_out"] = lambda context: [*context.rules, *also]
        spelled["deny_out"] = lambda context: [context.all_traffic]
    return spelled


def create(template="base", network=None, metadata=None, timeoutMs=None, **options):
    options = {SPELLING.get(name, name): value for name, value in options.items()}
    if timeoutMs is not None:
        options["timeout"] = timeoutMs // 1000
    if network is not None:
        options["network"] = selected(network)
    made = Sandbox.create(template, metadata=metadata, **options)
    return {"id": made.sandbox_id, "host": made.get_host(8080), "trafficAccessToken": made.traffic_access_token}


def update(id, network):
    Sandbox.update_network(id, selected(network))


def update_connected(id, network):
    Sandbox.connect(id).update_network(selected(network))


def info(id):
    found = Sandbox.get_info(id)
    network = found.network or {}
    spelled = {python: name for name, python in SPELLING.items()}
    if not isinstance(network, dict):
        network = network.to_dict() if hasattr(network, "to_dict") else vars(network)
    return {
        "sandboxId": found.sandbox_id,
        "templateId": found.template_id,
        "metadata": found.metadata,
        "state": getattr(found.state, "value", found.state),
        "startedAt": found.started_at.isoformat(),
        "endAt": found.end_at.isoformat(),
        "allowInternetAccess": found.allow_internet_access,
        "network": {spelled.get(name, name): value for name, value in network.items()},
    }


def list_all(metadata=None, limit=None):
    paginator = Sandbox.list(query=SandboxQuery(metadata=metadata), limit=limit)
    ids, pages = [], 0
    while paginator.has_next:
        ids += [one.sandbox_id for one in paginator.next_items()]
        pages += 1
    return {"ids": ids, "pages": pages}


def set_timeout(id, ms):
    Sandbox.set_timeout(id, ms // 1000)


def kill(id):
    return {"killed": Sandbox.kill(id)}


def use_key(key):
    os.environ["E2B_API_KEY"] = key


ACTIONS = {
    "create": create,
    "update": update,
    "updateConnected": update_connected,
    "info": info,
    "list": list_all,
    "timeout": set_timeout,
    "kill": kill,
    "key": use_key,
}

for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = {"ok": ACTIONS[asked.pop("do")](**asked)}
    except Exception as error:
        answer = {"error": {"kind": type(error).__name__, "message": str(error)}}
    print(json.dumps(answer, default=str), flush=True)
