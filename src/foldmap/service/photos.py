"""Photos asked over HTTP, localized as ``foldmap localize`` does."""

from __future__ import annotations

from typing import Any

import numpy as np

from foldmap.api.georeference import Georeference
from foldmap.api.photo import Photo
from foldmap.api.results import LocalizedObservation
from foldmap.errors import FoldmapError, InputError, LayerError, MapInputError
from foldmap.formats.listing import ListedImage
from foldmap.geometry import SE2, SE3
from foldmap.geometry.geopose import CAMERA_R_BODY
from foldmap.localize.visual.turned import also_turned
from foldmap.service.answers import GEOPOSE, Answer, Wanted, accuracy_of, lost, worth_headers
from foldmap.service.maps import ServedMap
from foldmap.service.problems import of_client, of_map
from foldmap.service.questions import PhotoQuestion, read_question
from foldmap.service.settings import ServiceSettings
from foldmap.visual.features.turned import known_upright_alone

_CAMERA_SE3_BODY = np.eye(4)
_CAMERA_SE3_BODY[:3, :3] = CAMERA_R_BODY


def answer_photo(served: ServedMap, body: bytes, wanted: Wanted, settings: ServiceSettings) -> Answer:
    """Where a photo was taken, on Earth.

    Raises:
        Problem: 400, the request cannot be used; 404, there is no pose; 501, the map cannot tell places on Earth, or
            not of photos.
    """
    question = read_question(body, settings.max_pixels)
    try:
        place, extractor = _able(served), served.extractor(*settings.extraction)
        localizer = served.town.visual_localizer()
    except FoldmapError as error:
        raise of_map(error) from error
    prior, radius_m = _prior(question, place)
    try:
        photo = Photo(question.pixels, question.camera)
        query = photo.query(extractor)
    except InputError as error:
        raise of_client(error) from error
    try:
        estimate = localizer.localize(query, prior, radius_m)
        if known_upright_alone(extractor.feature):
            estimate = also_turned(
                estimate, lambda *how: localizer.localize(photo.query(extractor, *how), prior, radius_m)
            )
    except InputError as error:
        raise lost("no_observation", str(error), [("id", question.id)]) from error
    except FoldmapError as error:
        raise of_map(error) from error
    found = LocalizedObservation(
        question.id, f"{question.timestamp}", estimate, photos=(ListedImage(question.id, question.camera),)
    )
    known = found.line()
    if not found.answered:
        told = [("id", question.id), ("diagnostics", known["diagnostics"])]
        raise lost(estimate.status.value, estimate.diagnostics.reason, told)
    return _answer(question, found, known, place, wanted, served.seal)


def _able(served: ServedMap) -> Georeference:
    """Where the map lies.

    Raises:
        LayerError: it has no photos, no scale, or no place on Earth.
    """
    if served.town.visual.parameters.get("metric") is not True:
        raise LayerError("the map of photos is in units of its own", "fold it with --positions, --align or --metric")
    if served.town.visual.needs_global:
        raise LayerError("the map is searched by the user's own global descriptors", "fold it without --globals")
    if served.place is None:
        cure = "fold it with --anchor LAT,LON,HEIGHT,HEADING, or serve it with that"
        raise LayerError("the map lies in a local frame, nobody knows where on Earth", cure)
    return served.place


def _prior(question: PhotoQuestion, place: Georeference) -> tuple[SE2 | None, float]:
    if question.prior is None:
        return None, 0.0
    try:
        x_m, y_m = place.place(question.prior.latitude_deg, question.prior.longitude_deg)
    except MapInputError as error:
        raise lost("no_match", f"the prior is far from the map: {error.message}", [("id", question.id)]) from error
    return SE2(x_m, y_m, 0.0), question.prior.radius_m


def _answer(
    question: PhotoQuestion,
    found: LocalizedObservation,
    known: dict[str, Any],
    place: Georeference,
    wanted: Wanted,
    seal: str,
) -> Answer:
    estimate = found.estimate
    geopose = place.geopose(SE3(found.world_SE3 @ _CAMERA_SE3_BODY))
    encoded = wanted.encoded(geopose, question.timestamp)
    headers = worth_headers(estimate.status.value, estimate.protection_level(), seal)
    if wanted.media == GEOPOSE:
        return Answer(encoded, media=wanted.content_type, headers=headers)
    body = {
        "id": question.id,
        "timestamp": question.timestamp,
        "accuracy": accuracy_of(estimate.covariance, 3),
        "type": "geopose",
        "geopose": encoded,
        **({"foldmap": {**known, "seal": seal}} if wanted.details else {}),
    }
    return Answer(body, media=wanted.content_type, headers=headers)
