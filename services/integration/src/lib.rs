//! Tests of what several services do together; they are in `tests/`.
