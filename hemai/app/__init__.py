"""A local page that answers for dropped images: what it says, what it computes, how it is served."""
