"""Predict the formation energy of every crystal in examples/crystals with the published 2018 weights."""

from pathlib import Path

import cgfast
from cgfast import io

model = cgfast.load_model("formation-energy-per-atom")
for crystals in io.read(Path(__file__).parent / "crystals"):
    prediction = model.predict(crystals)
    for name, value in zip(prediction.ids, prediction.values, strict=True):
        print(f"{name:12s} {value:8.3f} {prediction.unit}")
