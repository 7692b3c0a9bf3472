// Printed kernels include this, and use nothing of it.
