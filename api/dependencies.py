"""What endpoints ask for: who calls, a session, the process's resources."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.service import concerns, record_call
from api.auth.keys import Scope
from api.auth.service import Principal, authenticate
from api.errors import Code, DomainError
from api.jobs.models import Job
from api.limits.headers import RATE_STATE
from api.limits.quotas import bind
from api.limits.rate import too_many_requests
from api.resources import Resources

_CHANGED = "changed_jobs"
_bearer = HTTPBearer(auto_error=False, bearerFormat="espo_…", description="An API key of your project.")


def resources(request: Request) -> Resources:
    shared: Resources = request.app.state.resources
    return shared


Shared = Annotated[Resources, Depends(resources)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


Caller = Callable[[Request, Resources, HTTPAuthorizationCredentials | None], Awaitable[Principal]]


def require(scope: Scope) -> Caller:
    """A dependency that gives the caller, who must have this scope."""

    async def principal(request: Request, shared: Shared, credentials: Credentials) -> Principal:
        # A session of its own, closed before the endpoint's opens: one request never holds two connections.
        async with shared.context.database.read() as session:
            caller = await authenticate(session, credentials.credentials if credentials else "")
        request.state.caller = caller
        shared.key_uses.note(caller.key_id, caller.last_used_at)
        await _count(request, shared, caller)
        if not caller.may(scope):
            raise lacks(scope)
        return caller

    return principal


async def _count(request: Request, shared: Resources, caller: Principal) -> None:
    """Counts the request for its key's rate limit."""
    verdict = await shared.limiter.take(caller.key_id)
    setattr(request.state, RATE_STATE, verdict)
    if verdict is not None and not verdict.is_allowed:
        raise too_many_requests(verdict)


def lacks(scope: Scope) -> DomainError:
    """The answer to a key that may not do this; RFC 6750 has it name the scope."""
    return DomainError(
        Code.INSUFFICIENT_SCOPE,
        f"this key lacks the scope {scope}",
        headers={"www-authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
    )


Reader = Annotated[Principal, Depends(require(Scope.READ))]
Writer = Annotated[Principal, Depends(require(Scope.WRITE))]
Admin = Annotated[Principal, Depends(require(Scope.ADMIN))]


async def read_session(shared: Shared) -> AsyncIterator[AsyncSession]:
    async with shared.context.database.read() as session:
        bind(session, shared.settings)
        yield session


async def write_session(request: Request, shared: Shared) -> AsyncIterator[AsyncSession]:
    """A session that is committed before the answer is sent, with the call's audit entry; then the changed
    jobs are announced."""
    async with shared.context.database.write() as session:
        bind(session, shared.settings)
        yield session
        record_call(session, request.state.caller, request.scope)
    changed: dict[str, Job] = session.info.get(_CHANGED, {})
    if changed:
        await shared.announce(changed.values())


def announce_after_commit(session: AsyncSession, job: Job) -> None:
    """Notes that workers and listeners must hear of this job once its change is committed."""
    session.info.setdefault(_CHANGED, {})[job.id] = job
    concerns(session, job.id)


# scope="function": by default a dependency ends after the answer; a client could then miss its own write.
ReadSession = Annotated[AsyncSession, Depends(read_session, scope="function")]
WriteSession = Annotated[AsyncSession, Depends(write_session, scope="function")]
