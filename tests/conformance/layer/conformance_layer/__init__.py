"""Found by the function only through its layer."""

GREETING = "from the layer"
