//! How texts of a task look, for the document of the API: one schema for each, wherever it is sent.

#![allow(dead_code, reason = "only described")]

use utoipa::ToSchema;

/// One line.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 200,
    pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
)]
pub(super) struct Title(String);

/// Kept in lower case.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 50,
    pattern = "^[^,\\x00-\\x1f\\x7f-\\x9f]*[^,\\s\\x00-\\x1f\\x7f-\\x9f][^,\\x00-\\x1f\\x7f-\\x9f]*$"
)]
pub(super) struct Tag(String);

/// The name of a zone of the IANA.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 64, pattern = "^(UTC|[A-Za-z]+/[A-Za-z0-9/_+-]+)$", examples("Europe/Berlin"))]
pub struct TimeZone(String);
