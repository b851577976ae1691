"""The calls about aliases, declared: who may, what goes in, what comes out."""

from directory.aliases.answers import (
    ClaimAnswer,
    ClaimHistory,
    ClaimPage,
    ClaimRequest,
    GenerationsAnswer,
    PopulationAnswer,
    RetireAnswer,
    RetireRequest,
    SettleRequest,
    TwinsAnswer,
    TwinsRequest,
)
from directory.aliases.api import AliasCalls
from directory.operations import Operation, Parameter
from directory.paged import PAGED
from directory.services import Services
from foundation.problems import Code


def operations(services: Services) -> list[Operation]:
    calls = AliasCalls(services)
    return [*_claims(calls), *_keys(calls)]


def _claims(calls: AliasCalls) -> list[Operation]:
    return [
        Operation(
            method="POST",
            path="/v1/aliases/claim",
            name="claimAliases",
            summary="Take lookup keys under a lease, all or none, for a subject of the cell or for somebody not placed yet",
            roles=("cell:*",),
            handler=calls.claim,
            body=ClaimRequest,
            answers={201: ClaimAnswer},
            refusals=(Code.KEY_TAKEN, Code.NOT_FOUND, Code.CONFLICT, Code.IDEMPOTENCY_MISMATCH),
        ),
        Operation(
            method="POST",
            path="/v1/aliases/confirm",
            name="confirmAliases",
            summary="The claim's keys lead to the subject from now on; also after its lease ran out",
            roles=("cell:*",),
            handler=calls.confirm,
            body=SettleRequest,
            answers={200: ClaimAnswer},
            refusals=(Code.NOT_FOUND, Code.CONFLICT),
        ),
        Operation(
            method="POST",
            path="/v1/aliases/release",
            name="releaseAliases",
            summary="Give the claim's keys back: nothing was kept under them, or the alias is the subject's no more",
            roles=("cell:*", "operator"),
            handler=calls.release,
            body=SettleRequest,
            answers={200: ClaimAnswer},
            refusals=(Code.NOT_FOUND, Code.CONFLICT),
        ),
        Operation(
            method="GET",
            path="/v1/aliases",
            name="unsettledAliases",
            summary="Claims that are neither confirmed nor released",
            roles=("cell:*", "operator"),
            handler=calls.unsettled,
            parameters=(
                Parameter(name="cell", schema={"type": "string"}, description="only this cell's"),
                Parameter(
                    name="state",
                    schema={"type": "string", "enum": ["claimed", "unresolved"]},
                    description="only in this state",
                ),
                *PAGED,
            ),
            answers={200: ClaimPage},
        ),
        Operation(
            method="GET",
            path="/v1/aliases/claims/{claim_id}",
            name="aliasClaim",
            summary="One claim and its history",
            roles=("cell:*", "operator"),
            handler=calls.one,
            answers={200: ClaimHistory},
            refusals=(Code.NOT_FOUND,),
        ),
    ]


def _keys(calls: AliasCalls) -> list[Operation]:
    return [
        Operation(
            method="POST",
            path="/v1/aliases/twins",
            name="addTwinKeys",
            summary="The same identifiers under another blinding key, for people of the caller's cells",
            roles=("cell:*", "gateway:*"),
            handler=calls.add_twins,
            body=TwinsRequest,
            answers={200: TwinsAnswer},
        ),
        Operation(
            method="GET",
            path="/v1/aliases/generations",
            name="blindingKeys",
            summary="Lookup keys by the blinding key that they were made under, and what is known under one alone",
            roles=("operator",),
            handler=calls.generations,
            answers={200: GenerationsAnswer},
        ),
        Operation(
            method="POST",
            path="/v1/aliases/generations/{kid}/retire",
            name="retireBlindingKey",
            summary="Remove the lookup keys of a blinding key that no gateway or cell service holds any more",
            roles=("operator",),
            handler=calls.retire,
            body=RetireRequest,
            answers={200: RetireAnswer},
            refusals=(Code.CONFLICT,),
        ),
        Operation(
            method="GET",
            path="/v1/aliases/population",
            name="population",
            summary="The share of each cell in everybody placed, in coarse steps",
            roles=("resolver", "operator"),
            handler=calls.population,
            answers={200: PopulationAnswer},
        ),
    ]
