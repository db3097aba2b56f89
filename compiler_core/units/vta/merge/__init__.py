"""Several layers as one program: one launch, order by tokens alone."""
