"""Other ways to build the same intake, each as its competent author would: servers, and clients of the same shape."""
