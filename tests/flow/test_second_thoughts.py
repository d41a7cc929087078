"""What people take back, rename, look for and choose from, on the whole cloud."""

from tests.flow.conftest import Cloud
from tests.flow.test_held import busy


def test_a_message_that_was_withdrawn_never_reaches_the_agent(cloud: Cloud) -> None:
    session_id = busy(cloud)
    one, client = f"/sessions/{session_id}", cloud.client()
    first, second = (
        client.post(f"{one}/messages", json={"prompt": text}).json()["messageId"]
        for text in ("not this", "but this")
    )
    assert client.delete(f"{one}/messages/{first}").status_code == 202
    assert client.delete(f"{one}/messages/{first}").status_code == 202
    assert client.delete(f"{one}/messages/msg_unknown").json()["code"] == "MessageNotFound"
    with cloud.watch(session_id) as viewer:
        assert client.post(f"{one}/interrupt").status_code == 202
        viewer.until_type("message.held")
        held = client.get(one).json()["queue"]
        assert [(m["messageId"], m["status"]) for m in held] == [(second, "held")]
        assert client.post(f"{one}/initiate").status_code == 202
        viewer.until_type("turn.completed")
    told = [(e["type"], e["data"].get("messageId")) for e in cloud.events(session_id)]
    assert told.count(("message.withdrawn", first)) == 1
    assert ("message.delivered", first) not in told
    assert ("message.delivered", second) in told
    refused = client.delete(f"{one}/messages/{second}")
    assert (refused.status_code, refused.json()["code"]) == (409, "AlreadyDelivered")
    listed = client.get(f"{one}/messages").json()["items"]
    statuses = {m["messageId"]: m["status"] for m in listed}
    assert (statuses[first], statuses[second]) == ("withdrawn", "delivered")


def test_a_session_is_found_by_the_title_that_a_person_gave(cloud: Cloud) -> None:
    created = cloud.create(prompt="What is in here?", autoInitiate=False)
    one, client = f"/sessions/{created['sessionId']}", cloud.client()
    renamed = client.patch(one, json={"title": "Läufer im Treppenhaus"})
    assert (renamed.status_code, renamed.json()["title"]) == (200, "Läufer im Treppenhaus")
    page = client.get("/sessions", params={"search": "TREPPENHAUS läufer"}).json()
    assert [item["sessionId"] for item in page["items"]] == [created["sessionId"]]
    query = {"search": "treppenhaus", "repository": "https://example.com/other"}
    assert client.get("/sessions", params=query).json()["items"] == []
    told = [e["data"] for e in cloud.events(created["sessionId"]) if e["type"] == "session.renamed"]
    assert told == [{"title": "Läufer im Treppenhaus"}]


def test_what_can_be_chosen_is_told_and_all_else_refused_at_once(cloud: Cloud) -> None:
    client = cloud.client()
    offered = client.get("/defaults").json()
    names = [agent["name"] for agent in offered["agents"]]
    assert offered["agent"] in names
    body = {"prompt": "x", "gitUrl": cloud.info["gitUrl"], "agent": "nobody"}
    [error] = client.post("/sessions", json=body).json()["errors"]
    assert error["loc"] == ["agent"]
    assert ", ".join(names) in error["msg"]
