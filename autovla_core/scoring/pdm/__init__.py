"""The PDM score: ``prepare`` a scene, ``score`` plans on it. Values are in ``autovla_core.scoring.pdm_types``."""

from autovla_core.scoring.pdm.score import SUB_SCORES, PreparedScene, prepare, score

__all__ = ["SUB_SCORES", "PreparedScene", "prepare", "score"]
