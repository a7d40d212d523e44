"""What a codebook is worth: measured on its entries, and on plans that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autovla_core import footprints, geometry
from autovla_core.action import beam, kinematics, reach, tokenizer
from autovla_core.action.codebook import Codebook
from autovla_core.contracts import STEP_S

Figures = dict[str, object]
Report = Mapping[str, Figures]  # section -> figure -> value; sections of ENCODERS: band -> figure -> value. Plain JSON
DELTA_M = 0.05  # mean corner distance that counts as covered; the paper's
LATERAL_AIM = 4.0  # m/s2: up to there a codebook should be good
HEAD, COLUMN = 60, 34  # characters of a name and of one codebook in the text
SAME_M = 0.001  # nearer entries are one motion twice
SPEED_BANDS = (0.1, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0)  # m/s, of the fastest motion of a plan; upper ends
LATERAL_BANDS = (0.5, 1.5, 2.5, 4.0)  # m/s2, the largest of a plan
ENCODERS: Mapping[str, Callable[[Codebook, np.ndarray], np.ndarray]] = {
    "greedy": tokenizer.encode,
    "beam": beam.encode,
}


def measure(codebook: Codebook, plans: np.ndarray | None = None, limits: kinematics.Limits | None = None) -> Report:
    """Every figure of a codebook; without plans (N, 10, 3) only those of its entries."""
    found = {
        "codebook": _identity(codebook),
        "entries": entries(codebook),
        "separation": separation(codebook),
        "symmetry": symmetry(codebook),
        "impossible": {k: int(v.sum()) for k, v in kinematics.violations(codebook.motions, limits).items()},
    }
    if plans is None or not len(plans):
        return found
    tokens = {name: encode(codebook, plans) for name, encode in ENCODERS.items()}
    found["coverage"] = coverage(codebook, plans)
    found["use"] = use(codebook, tokens["greedy"])
    found["from motion to motion"] = transitions(codebook, plans, tokens["greedy"])
    found["reach"] = reach_effect(codebook, plans, tokens["greedy"])
    return found | {name: reconstruction(codebook, plans, chosen) for name, chosen in tokens.items()}


def _identity(codebook: Codebook) -> Figures:
    provenance = codebook.provenance
    made = f"{provenance.get('program', 'unknown')} {provenance.get('method', '')}".strip()
    return {"hash": codebook.hash[:12], "length_m": codebook.length, "width_m": codebook.width, "made by": made}


def entries(codebook: Codebook) -> Figures:
    """What kinds of motion there are, and their extremes."""
    motions = codebook.motions
    arcs, yaw = kinematics.arc_lengths(motions), motions[:, 2]
    still = np.abs(arcs) <= kinematics.STILL_M
    return {
        "count": len(motions),
        "standing": int(still.sum()),
        "exact standstill": int((~motions.any(axis=1)).sum()),
        "reverse": int((arcs < -kinematics.STILL_M).sum()),
        "straight": int((~still & (np.abs(yaw) < 0.005)).sum()),
        "left": int((~still & (yaw >= 0.005)).sum()),
        "right": int((~still & (yaw <= -0.005)).sum()),
        "top speed, m/s": round(float(arcs.max() / STEP_S), 2),
        "top reverse, m/s": round(float(max(0.0, -arcs.min() / STEP_S)), 2),
        "tightest curve, 1/m": round(
            float(np.abs(kinematics.curvatures(motions)[np.abs(arcs) > 0.5]).max(initial=0)), 3
        ),
        "most lateral, m/s2": round(float(np.abs(kinematics.lateral_accelerations(motions)).max()), 2),
    }


def separation(codebook: Codebook) -> Figures:
    """How far entries are from their nearest neighbour, mean corner distance."""
    distance = _to_nearest_other(codebook)
    return {
        "duplicates": int((distance < SAME_M).sum()),
        f"nearer than {DELTA_M} m": int((distance < DELTA_M).sum()),
        "least, m": round(float(distance.min(initial=np.inf)), 4),
        "median, m": round(float(np.median(distance)), 4),
    }


def _to_nearest_other(codebook: Codebook) -> np.ndarray:
    near = codebook.neighbours[:, :2]
    other = np.where(near[:, 0] == np.arange(len(near)), near[:, -1], near[:, 0])
    return _pair_distance(codebook, codebook.motions, codebook.motions[other])


def _pair_distance(codebook: Codebook, motions: np.ndarray, others: np.ndarray) -> np.ndarray:
    ends = [footprints.corners(side, codebook.length, codebook.width) for side in (motions, others)]
    return np.linalg.norm(ends[0] - ends[1], axis=-1).mean(-1)


def symmetry(codebook: Codebook) -> Figures:
    """Whether what can be said to the left can be said to the right."""
    mirror = codebook.motions * [1.0, -1.0, -1.0]
    distance = _pair_distance(codebook, mirror, codebook.motions[tokenizer.nearest(codebook, mirror)])
    return {
        "complete": round(float((distance < SAME_M).mean()), 4),
        "median, m": round(float(np.median(distance)), 4),
        "worst, m": round(float(distance.max()), 4),
    }


def motions_of(plans: np.ndarray) -> np.ndarray:
    """The 0.5 s motions (N, T, 3) inside plans (N, T, 3)."""
    starts = np.concatenate([np.zeros_like(plans[:, :1]), plans[:, :-1]], axis=1)
    return geometry.relative(starts, plans)


def distances(codebook: Codebook, motions: np.ndarray) -> np.ndarray:
    """Mean corner distance (N,) in metres from motions (N, 3) to the nearest entry."""
    return _pair_distance(codebook, motions, codebook.motions[tokenizer.nearest(codebook, motions)])


def coverage(codebook: Codebook, plans: np.ndarray) -> Figures:
    """Share of the plans' motions with an entry within ``DELTA_M``."""
    distance = distances(codebook, motions_of(plans).reshape(-1, 3))
    return {
        f"within {DELTA_M} m": round(float((distance <= DELTA_M).mean()), 4),
        "median, m": round(float(np.median(distance)), 4),
        "p99, m": round(float(np.quantile(distance, 0.99)), 4),
    }


def use(codebook: Codebook, tokens: np.ndarray) -> Figures:
    """How evenly tokens (N, T) use the entries; as much as ``perplexity`` equally used ones would tell."""
    counts = np.bincount(tokens.ravel(), minlength=len(codebook))
    most = np.argsort(-counts, kind="stable")
    share = counts[counts > 0] / counts.sum()
    return {
        "used": round(float((counts > 0).mean()), 4),
        "never used": int((counts == 0).sum()),
        "perplexity": round(float(np.exp(-(share * np.log(share)).sum())), 1),
        "share of the ten most used": round(float(np.sort(counts)[-10:].sum() / counts.sum()), 4),
        "most used": " ".join(map(str, most[:5])),
        "share of standstill": round(float(counts[0] / counts.sum()), 4),
    }


def transitions(codebook: Codebook, plans: np.ndarray, tokens: np.ndarray) -> Figures:
    """Longitudinal acceleration between motions in a row, m/s2: of tokens (N, T), and of the plans they stand for."""
    found = {}
    for name, motions in (("tokens", codebook.motions[tokens]), ("plans", motions_of(plans))):
        gain = np.diff(kinematics.speeds(motions), axis=1) / STEP_S
        found[f"braking of {name} (p0.1), m/s2"] = round(float(np.quantile(gain, 0.001)), 2)
        found[f"acceleration of {name} (p99.9), m/s2"] = round(float(np.quantile(gain, 0.999)), 2)
    return found


def reach_effect(codebook: Codebook, plans: np.ndarray, tokens: np.ndarray) -> Figures:
    """What the reach mask does to tokens (N, T): it should exclude many entries and no true one."""
    masks = reach.next_masks(codebook)
    speeds, grid = start_speeds(plans), np.arange(-6.0, 40.0, 0.1)
    first = reach.first_masks(codebook, grid)
    bins = np.clip(np.round((speeds - grid[0]) / 0.1).astype(int), 0, len(grid) - 1)
    return {
        "true tokens excluded": round(float(1.0 - masks[tokens[:, :-1], tokens[:, 1:]].mean()), 6),
        "true first tokens excluded": round(float(1.0 - first[bins, tokens[:, 0]].mean()), 6),
        "entries left, next": round(float(masks.mean(axis=1)[tokens[:, :-1]].mean()), 4),
        "entries left, first": round(float(first.mean(axis=1)[bins].mean()), 4),
    }


def start_speeds(plans: np.ndarray) -> np.ndarray:
    """Signed m/s (N,) at the start of plans, by the acceleration between their first two motions."""
    mean = kinematics.speeds(motions_of(plans[:, :2]))
    return 1.5 * mean[:, 0] - 0.5 * mean[:, 1]


def reconstruction(codebook: Codebook, plans: np.ndarray, tokens: np.ndarray) -> dict[str, Figures]:
    """Errors of decoded tokens, over all plans and by band of speed and of lateral acceleration."""
    decoded = tokenizer.decode(codebook, tokens)
    error = np.linalg.norm(decoded[..., :2] - plans[..., :2], axis=-1)
    yaw = np.degrees(np.abs(geometry.wrap_angle(decoded[..., 2] - plans[..., 2])))
    motions = motions_of(plans)
    fastest = np.abs(kinematics.speeds(motions)).max(axis=1)
    lateral = np.abs(kinematics.lateral_accelerations(motions)).max(axis=1)
    bands = {"all": np.ones(len(plans), bool), "up to 4 m/s2 lateral": lateral <= LATERAL_AIM}
    bands |= _bands(fastest, SPEED_BANDS, "m/s") | _bands(lateral, LATERAL_BANDS, "m/s2 lateral")
    return {name: _errors(error[rows], yaw[rows]) for name, rows in bands.items() if rows.any()}


def _bands(values: np.ndarray, ends: Sequence[float], unit: str) -> dict[str, np.ndarray]:
    low = (0.0, *ends)
    high = (*ends, np.inf)
    return {f"{a:g} to {b:g} {unit}": (values >= a) & (values < b) for a, b in zip(low, high, strict=True)}


def _errors(error: np.ndarray, yaw: np.ndarray) -> Figures:
    return {
        "plans": len(error),
        "ADE, m": round(float(error.mean()), 4),
        "FDE, m": round(float(error[:, -1].mean()), 4),
        "p99, m": round(float(np.quantile(error, 0.99)), 4),
        "yaw, deg": round(float(yaw.mean()), 3),
    }


def as_text(reports: Sequence[Report], names: Sequence[str]) -> str:
    """Reports side by side, one column each; a figure that one lacks is a dash."""
    lines = [_line("", [name[-COLUMN:] for name in names])]
    plain = dict.fromkeys((s, f) for r in reports for s in r if s not in ENCODERS for f in r[s])
    for section in dict.fromkeys(s for s, _ in plain):
        figures = [f for s, f in plain if s == section]
        lines += [_line(f"{section}: {f}", [str(r.get(section, {}).get(f, "-")) for r in reports]) for f in figures]
    bands = dict.fromkeys(band for r in reports for band in r.get("greedy", {}))
    lines += [_line("ADE / FDE in m", ["greedy | beam"] * len(reports))] if bands else []
    return "\n".join(lines + [_line(band, [_cell(r, band) for r in reports]) for band in bands])


def _line(head: str, cells: Sequence[str]) -> str:
    return f"{head:<{HEAD}}" + "".join(f"{cell[:COLUMN]:>{COLUMN + 2}}" for cell in cells)


def _cell(report: Report, band: str) -> str:
    found = [report.get(name, {}).get(band) for name in ENCODERS]
    return " | ".join("-" if f is None else f"{f['ADE, m']:.4f} / {f['FDE, m']:.4f}" for f in found)
