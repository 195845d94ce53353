"""The connection to the Prefect API, against a scripted server on a real socket."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from gitops_flow import prefect
from gitops_flow.errors import ApiError
from gitops_flow.model import Automation, PrefectConnection, Schedule
from tests.support.script import DROP, Script

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def script() -> Iterator[Script]:
    server = Script()
    yield server
    server.close()


def refusal(script: Script, *answers: Any, **changes: Any) -> ApiError:
    script.answers = list(answers)
    with script.client(**changes) as client, pytest.raises(ApiError) as caught:
        client.post("/deployments/filter", {"limit": 1})
    return caught.value


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_passing_failure_is_tried_again(script: Script, status: int) -> None:
    script.answers = [(status, {"detail": "later"}), (status, {}), (200, [1])]
    with script.client() as client:
        assert client.post("/x", {}) == [1]
        assert (client.requests, client.repeated) == (3, 2)
    assert len(script.waits) == 2


def test_waits_grow_and_end(script: Script) -> None:
    error = refusal(script, (502, {"exception_message": "Bad Gateway"}))
    assert error.status == 502
    assert error.retry
    assert len(script.waits) == 5
    assert script.waits[4] > 4 * script.waits[0]
    assert sum(script.waits) < 50
    assert "6 times" in error.message


def test_a_busy_database_is_given_two_minutes_whatever_the_attempts(script: Script) -> None:
    error = refusal(script, (503, {"exception_message": "Service Unavailable"}))
    assert (error.status, error.retry) == (503, True)
    assert 120 <= sum(script.waits) < 150


def test_retry_after_is_honoured(script: Script) -> None:
    refusal(script, (429, {}, {"Retry-After": "7"}), (418, {"detail": "no"}))
    assert script.waits == [7.0]


def test_retry_after_as_a_date_is_honoured(script: Script) -> None:
    soon = formatdate(time.time() + 30, usegmt=True)
    refusal(script, (503, {}, {"Retry-After": soon}), (418, {"detail": "no"}))
    assert 25 < script.waits[0] <= 31


def test_an_endless_retry_after_is_cut(script: Script) -> None:
    refusal(script, (503, {}, {"Retry-After": "86400"}), (418, {"detail": "no"}))
    assert script.waits == [60.0]


def test_no_retries_when_the_settings_say_so(script: Script) -> None:
    refusal(script, (503, {}), max_retries=0)
    assert script.waits == []


def test_a_dropped_connection_is_tried_again(script: Script) -> None:
    script.answers = [(200, True), DROP, (200, ["again"])]
    with script.client() as client:
        client.get("/health")
        assert client.post("/deployments/filter", {}) == ["again"]


def slow(script: Script, times: int, answer: Any) -> None:
    """Have the first ``times`` requests be answered too late for a timeout of 0.1 s."""
    left = [True] * times

    def late(*_: Any) -> Any:
        if left:
            left.pop()
            time.sleep(0.3)
        return answer

    script.answers = [late]


@pytest.mark.parametrize("method", ["get", "post", "patch", "put", "delete"])
def test_a_slow_answer_is_asked_for_again(script: Script, method: str) -> None:
    slow(script, 2, (204, b""))
    with script.client(timeout=0.1) as client:
        getattr(client, method)("/x", *([] if method in ("get", "delete") else [{}]))
        assert client.repeated == 2


def test_an_answer_that_never_comes_is_asked_for_as_often_as_the_settings_say(
    script: Script,
) -> None:
    slow(script, 9, (200, []))
    error = refusal(script, *script.answers, timeout=0.05, max_retries=2)
    assert len(script.seen) == 3
    assert error.retry
    assert error.message.endswith("within 0.05 s, 3 times")


def test_refusals_of_a_busy_server_do_not_use_up_the_attempts_for_lost_answers(
    script: Script,
) -> None:
    script.answers = [*[(503, {})] * 9, DROP, DROP, (200, ["done"])]
    with script.client(max_retries=2) as client:
        assert client.post("/x", {}) == ["done"]
        assert client.repeated == 11


NEW = Schedule({"cron": "0 1 * * *"})


class Schedules:
    """The schedules of one deployment; the first answers to a creation are lost."""

    def __init__(self, lost: int, carried_out: bool) -> None:
        self.lost, self.carried_out = lost, carried_out
        self.there = [{"id": "old"}]

    def __call__(self, method: str, _path: str, _headers: Any, body: Any) -> Any:
        if method == "GET":
            return 200, self.there
        self.lost -= 1
        made = [{"id": f"new{self.lost}-{at}"} for at, _ in enumerate(body)]
        if self.lost < 0 or self.carried_out:
            self.there += made
        return DROP if self.lost >= 0 else (201, made)


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("carried_out", [True, False])
def test_what_must_not_happen_twice_happens_once_whatever_is_lost(
    script: Script, lost: int, carried_out: bool
) -> None:
    server = Schedules(lost, carried_out)
    script.answers = [server]
    with script.client() as client:
        made = prefect.add_schedules(client, "1", [NEW, NEW], ["old"])
    assert [item["id"] for item in server.there] == ["old", *made]
    assert len(made) == 2


@pytest.mark.parametrize("carried_out", [True, False])
def test_an_automation_is_made_once_although_the_answer_is_lost(
    script: Script, carried_out: bool
) -> None:
    other = {"id": "old", "name": "after", "trigger": {}}
    there = [other]

    def answer(method: str, path: str, _headers: Any, body: Any) -> Any:
        if method == "GET":
            return 200, there
        if carried_out or script.waits:
            there.append({"id": f"new{len(there)}", **body})
        return (201, there[-1]) if script.waits else DROP

    script.answers = [answer]
    wanted = Automation("after", {"type": "event"})
    with script.client() as client:
        client.version = None
        made = prefect.create_automation(client, "1", wanted, (), ["old"])
    assert [item["id"] for item in there] == ["old", made]


@pytest.mark.parametrize("method", ["patch", "put", "delete"])
def test_a_change_is_not_believed_when_something_else_confirms_it(
    script: Script, method: str
) -> None:
    script.answers = [(200, {"ok": True})]
    with script.client() as client, pytest.raises(ApiError, match="something else") as caught:
        getattr(client, method)("/deployments/1", *([] if method == "delete" else [{}]))
    assert caught.value.status == 200
    assert str(caught.value.where).endswith("/api/deployments/1")


def test_a_connection_is_kept_for_the_next_request(script: Script) -> None:
    ports = set()
    script.answers = [(200, True)]
    get_request = script.http.get_request

    def remember() -> Any:
        request, address = get_request()
        ports.add(address)
        return request, address

    script.http.get_request = remember  # type: ignore[method-assign]
    with script.client() as client:
        for _ in range(5):
            client.get("/health")
    assert len(ports) == 1


def test_the_whole_auth_string_is_sent_and_beats_the_key(script: Script) -> None:
    script.answers = [(200, True)]
    with script.client(auth_string="admin:pa:ss", api_key="pnu_key") as client:
        client.get("/x")
    expected = "Basic " + base64.b64encode(b"admin:pa:ss").decode()
    assert script.seen[0][2]["authorization"] == expected


def test_the_key_is_sent_as_bearer_and_custom_headers_go_along(script: Script) -> None:
    script.answers = [(200, True)]
    with script.client(api_key="pnu_key", headers=(("X-Gate", "7"),)) as client:
        client.get("/x")
    headers = script.seen[0][2]
    assert (headers["authorization"], headers["x-gate"]) == ("Bearer pnu_key", "7")


def csrf_server(tokens: list[str]) -> Any:
    def answer(method: str, path: str, headers: dict[str, str], body: Any) -> Any:
        if path.startswith("/api/csrf-token"):
            return 200, {"token": tokens.pop(0), "expiration": "2030-01-01T00:00:00Z"}
        if "prefect-csrf-token" not in headers:
            return 403, {"detail": "Missing CSRF token."}
        if headers["prefect-csrf-token"] == "old":
            return 403, {"detail": "Invalid CSRF token or client identifier."}
        return 200, ["in"]

    return answer


def test_a_csrf_token_is_fetched_only_when_the_server_wants_one(script: Script) -> None:
    script.answers = [csrf_server(["good"])]
    with script.client() as client:
        assert client.post("/a", {}) == ["in"]
        assert client.post("/b", {}) == ["in"]
    assert [path for _, path, _, _ in script.seen][2:] == ["/api/a", "/api/b"]
    clients = {h["prefect-csrf-client"] for _, _, h, _ in script.seen if "prefect-csrf-client" in h}
    assert len(clients) == 1


def test_an_expired_csrf_token_is_fetched_again_once(script: Script) -> None:
    script.answers = [csrf_server(["old", "good"])]
    with script.client() as client:
        with pytest.raises(ApiError, match="Invalid CSRF token"):
            client.post("/a", {})
        assert client.post("/b", {}) == ["in"]


def test_csrf_support_can_be_off(script: Script) -> None:
    error = refusal(script, csrf_server(["good"]), csrf=False)
    assert "CSRF" in str(error)
    assert len(script.seen) == 1


def test_no_server_says_how_to_start_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    waits: list[float] = []
    client = prefect.Client(PrefectConnection(f"http://127.0.0.1:{port}/api"), sleep=waits.append)
    with client, pytest.raises(ApiError) as caught:
        client.get("/health")
    assert caught.value.message == f"no Prefect server answers at http://127.0.0.1:{port}/api"
    assert "prefect server start" in str(caught.value)
    assert "PREFECT_API_URL" in str(caught.value)
    assert waits == [], "a server that is not there is not waited for"


def test_an_unknown_host_is_named() -> None:
    connection = PrefectConnection("http://no-such-host.invalid/api")
    with prefect.Client(connection) as client, pytest.raises(ApiError, match="not known to DNS"):
        client.get("/health")


def test_a_slow_server_ends_in_a_timeout(script: Script) -> None:
    release = threading.Event()
    script.answers = [lambda *_: (release.wait(5), (200, True))[1]]
    with (
        script.client(timeout=0.05, max_retries=0) as client,
        pytest.raises(ApiError, match=r"within 0\.05 s"),
    ):
        client.get("/health")
    release.set()


def test_tls_to_a_plain_server_is_explained(script: Script) -> None:
    script.answers = [(200, True)]
    url = script.connection.api_url.replace("http:", "https:")
    with (
        prefect.Client(PrefectConnection(url)) as client,
        pytest.raises(ApiError, match="no secure connection") as caught,
    ):
        client.get("/health")
    assert "PREFECT_API_SSL_CERT_FILE" in str(caught.value)


def test_a_certificate_file_that_is_missing_is_named() -> None:
    connection = PrefectConnection("https://example.invalid/api", ca_file="/nowhere/ca.pem")
    with pytest.raises(ApiError) as caught:
        prefect.Client(connection)
    assert caught.value.where == "/nowhere/ca.pem"


def test_certificates_are_verified_by_default() -> None:
    with prefect.Client(PrefectConnection("https://example.invalid/api")) as client:
        context = client._http._transport._pool._ssl_context  # type: ignore[attr-defined]
    assert context.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("url", ["127.0.0.1:4200/api", "ftp://h/api", "http://"])
def test_an_address_that_is_no_url_is_an_understood_error(url: str) -> None:
    with (
        pytest.raises(ApiError, match="http or https"),
        prefect.Client(PrefectConnection(url)) as c,
    ):
        c.get("/health")


def test_a_password_in_the_address_is_masked() -> None:
    connection = PrefectConnection("http://me:hunter22@127.0.0.1:9/api")
    with prefect.Client(connection) as client, pytest.raises(ApiError) as caught:
        client.get("/health")
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("key", ["two\nlines-secret", "schlüssel-secret"])
def test_a_key_that_no_header_can_hold_is_not_shown(script: Script, key: str) -> None:
    script.answers = [(200, True)]
    with pytest.raises(ApiError) as caught, script.client(api_key=key) as client:
        client.get("/health")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("proxy", "said"),
    [("me:hunter22", "cannot be sent"), ("socks5://me:hunter22@127.0.0.1:1", "SOCKS")],
)
def test_a_proxy_that_cannot_be_used_is_an_understood_error_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str, said: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ApiError, match=said) as caught:
        prefect.Client(PrefectConnection("http://prefect.example.invalid/api"))
    assert "hunter22" not in str(caught.value)


def test_401_says_which_settings_log_in(script: Script) -> None:
    error = refusal(script, (401, {"exception_message": "Unauthorized"}))
    assert error.status == 401
    assert error.message == "the Prefect server wants a login (401)"
    assert "set PREFECT_API_AUTH_STRING" in str(error.hint)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"auth_string": "a:wrong-one"}, "PREFECT_API_AUTH_STRING"),
        ({"api_key": "wrong-one"}, "PREFECT_API_KEY"),
    ],
)
def test_401_says_which_login_was_not_accepted(
    script: Script, given: dict[str, str], name: str
) -> None:
    error = refusal(script, (401, {"exception_message": "Unauthorized"}), **given)
    assert error.message == f"the Prefect server did not accept {name} (401)"
    assert "wrong-one" not in str(error)


def test_a_web_page_means_a_wrong_address(script: Script) -> None:
    error = refusal(script, (200, b"<html></html>", {"Content-Type": "text/html; charset=utf-8"}))
    assert "text/html" in error.message
    assert "/api" in str(error.hint)


@pytest.mark.parametrize("status", [404, 405])
def test_an_address_without_api_gets_a_hint(script: Script, status: int) -> None:
    error = refusal(script, (status, {"detail": "Not Found"}))
    assert "usually ends in /api" in str(error.hint)


@pytest.mark.parametrize("answer", [[{"name": "x"}], ["x"], [{"id": None}], {"id": "x"}, None])
def test_json_of_another_service_is_an_understood_error(script: Script, answer: Any) -> None:
    script.answers = [(200, answer)]
    with script.client() as client, pytest.raises(ApiError, match="not the Prefect API's"):
        prefect.live(client, names=None, mark=None)


@pytest.mark.parametrize("status", [200, 500])
def test_json_too_deep_to_read_is_an_understood_error(script: Script, status: int) -> None:
    assert refusal(script, (status, b"[" * 200_000)).status == status


def test_a_request_that_is_too_large_is_no_wrong_address(script: Script) -> None:
    error = refusal(script, (413, b"<html></html>", {"Content-Type": "text/html"}))
    assert "larger than the server" in error.message
    assert "/api" not in str(error.hint)


def test_the_login_is_not_shown_when_the_server_repeats_it(script: Script) -> None:
    def echo(_method: str, _path: str, headers: dict[str, str], _body: Any) -> Any:
        return (500, {"exception_message": f"{headers['authorization']} {headers['x-gate']}"})

    error = refusal(script, echo, auth_string="me:hunter22", headers=(("X-Gate", "gate-pass"),))
    assert "Basic ****" in error.message
    assert base64.b64encode(b"me:hunter22").decode() not in str(error)
    assert "gate-pass" not in str(error)


def test_the_query_of_a_login_page_is_not_shown(script: Script) -> None:
    error = refusal(script, (302, b"", {"Location": "https://sso.example/login?ticket=abc"}))
    assert "https://sso.example/login" in error.message
    assert "ticket" not in str(error)


def test_a_redirect_is_not_followed_but_told(script: Script) -> None:
    error = refusal(script, (308, b"", {"Location": "https://me:pw@other/api/x"}))
    assert "https://****@other/api/x" in error.message
    assert len(script.seen) == 1


def test_404_and_409_repeat_what_the_server_says(script: Script) -> None:
    error = refusal(script, (404, {"detail": 'Work pool "gpu" not found.'}))
    assert 'Work pool "gpu" not found.' in error.message
    assert "prefect work-pool create" in str(error.hint)
    assert "Data integrity" in refusal(script, (409, {"detail": "Data integrity conflict"})).message


def test_422_names_place_and_reason_but_never_repeats_the_request(script: Script) -> None:
    detail = [
        {
            "type": "x",
            "loc": ["body", "concurrency_limit"],
            "msg": "Input should be greater than 0",
        },
        {"type": "x", "loc": ["body", "job_variables", "api_token"], "msg": "bad tok-12345"},
    ]
    error = refusal(
        script,
        (422, {"exception_detail": detail, "request_body": {"password": "hunter22"}}),
    )
    assert "concurrency_limit: Input should be greater than 0" in error.message
    assert "job_variables.api_token: not accepted" in error.message
    assert "hunter22" not in str(error)
    assert "tok-12345" not in str(error)


def test_a_secret_that_was_sent_does_not_come_back_in_the_reason(script: Script) -> None:
    env = {"DATABASE": "postgres-hunter22", "QUOTED": "it's-hunter23"}
    script.answers = [(409, {"detail": f"ValidationError: {env!r} is not of type 'string'"})]
    with script.client() as client, pytest.raises(ApiError) as caught:
        client.patch("/deployments/1", {"job_variables": {"env": env}})
    assert "is not of type" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_field_the_server_does_not_know_says_that_it_is_too_old(script: Script) -> None:
    detail = [{"loc": ["body", "pull_steps"], "msg": "Extra inputs are not permitted"}]
    assert "too old" in str(refusal(script, (422, {"exception_detail": detail})).hint)


SCHEDULE = ["body", "schedule"]
SHAPES = [
    {
        "type": "missing",
        "loc": [*SCHEDULE, "IntervalSchedule", "interval"],
        "msg": "Field required",
    },
    {
        "type": "extra_forbidden",
        "loc": [*SCHEDULE, "IntervalSchedule", "rrule"],
        "msg": "Extra inputs are not permitted",
    },
    {
        "type": "value_error",
        "loc": [*SCHEDULE, "RRuleSchedule", "rrule"],
        "msg": "Value error, invalid 'BYDAY': XX",
    },
]


def test_a_value_that_fits_no_other_shape_is_not_blamed_on_an_old_server(script: Script) -> None:
    error = refusal(script, (422, {"exception_detail": SHAPES}))
    assert error.hint is None
    assert "invalid 'BYDAY': XX" in error.message
    assert "IntervalSchedule" not in error.message


def test_an_unknown_field_beside_other_mistakes_is_not_blamed_on_an_old_server(
    script: Script,
) -> None:
    detail = [
        {"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs are not permitted"},
        {"type": "int_parsing", "loc": ["body", "y"], "msg": "Input should be a valid integer"},
    ]
    assert refusal(script, (422, {"exception_detail": detail})).hint is None


def test_an_internal_error_points_to_the_servers_log(script: Script) -> None:
    error = refusal(script, (500, {"exception_message": "Internal Server Error"}))
    assert (error.status, error.retry) == (500, True)
    assert "log" in str(error.hint)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_what_is_not_json_is_an_understood_error(script: Script, value: object) -> None:
    with script.client() as client, pytest.raises(ApiError, match="written as JSON"):
        client.post("/x", {"parameters": value})
    assert script.seen == []


def test_a_server_with_smaller_pages_is_read_to_the_end(script: Script) -> None:
    items = [{"id": str(n), "name": f"f{n}"} for n in range(7)]

    def answer(method: str, path: str, headers: dict[str, str], body: Any) -> Any:
        if body["limit"] > 3:
            message = "Invalid limit: must be less than or equal to 3."
            return 422, {"exception_detail": [{"loc": ["body", "limit"], "msg": message}]}
        return 200, items[body["offset"] : body["offset"] + body["limit"]]

    script.answers = [answer]
    with script.client() as client:
        prefect.know_flows(client, ["f0", "f1"])
        assert set(client.flow_ids) == {f"f{n}" for n in range(7)}
        assert client.requests == 4


def test_deleting_what_is_gone_is_no_error(script: Script) -> None:
    script.answers = [(404, {"detail": "Schedule not found."})]
    with script.client() as client:
        prefect.delete_schedule(client, "d", "s")


def test_a_pool_that_exists_by_now_is_left_alone(script: Script) -> None:
    script.answers = [(200, {}), (409, {"detail": "already exists"})]
    with script.client() as client:
        prefect.create_work_pool(client, "gpu")
    assert script.seen[1][3]["base_job_template"]["variables"]["properties"]["working_dir"]
