"""The code of a registered model: MLflow keeps a copy of this file beside the weights, and runs it
where the model is loaded or served, whether this package is installed there or not.

In: uint8 (n, height, width), or with a last axis of channels where there are several; pixels
0..255. Out: one row an image, one column a class, named as the class: its probability.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined]  # MLflow makes it where it is asked for
    """A saved Keras network that takes images in 0..1, behind raw images."""

    def load_context(self, context: Any) -> None:
        """Load network and class names from the model's artifacts; the network may hold no code."""
        import keras

        self._network = keras.saving.load_model(
            context.artifacts["network"], compile=False, safe_mode=True
        )
        self._classes = json.loads(Path(context.artifacts["classes"]).read_text(encoding="utf-8"))

    # Without type hints: MLflow would read a signature out of them, and warn that it cannot.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Return the probabilities of the classes, float32."""
        height, width, channels = self._network.input_shape[1:]
        images = np.asarray(model_input).reshape(-1, height, width, channels)
        scaled = images.astype(np.float32) * np.float32(1.0 / 255.0)
        probabilities = self._network.predict(scaled, batch_size=1000, verbose=0)
        return pd.DataFrame(np.asarray(probabilities, np.float32), columns=self._classes)


mlflow.models.set_model(ImageClassifier())
