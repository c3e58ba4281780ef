"""Fashion-MNIST: 28 x 28 grey images of ten kinds of clothes."""
