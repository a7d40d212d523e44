from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from autovla_core.minicarla.world.layout import Solid
from autovla_core.minicarla.world.mesh import Mesh
@dataclass(frozen=True)
class Scenery:
    mesh: Mesh
    solids: tuple[Solid, ...]
def build_scenery(strips, placed, ground, seed):
    return Scenery(Mesh(np.zeros((0,3,3),np.float32),np.zeros((0,3),np.float32),np.zeros(0,np.uint8),np.zeros(0,np.uint8)),())
