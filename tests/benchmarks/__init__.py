"""`make bench`: the distillation step against a plain one and against TextBrewer's, in time and in
memory."""
