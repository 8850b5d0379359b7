//! Pages of a listing. Each names the cursor with which the next one is asked for: where its last row stands in the order. So
//! rows that come meanwhile neither push others onto the next page, where they would be twice, nor off it.

use axum::{
    Json,
    http::HeaderName,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use time::OffsetDateTime;

use crate::error::ApiError;

/// In the answer that is not the last one.
pub const NEXT_CURSOR: HeaderName = HeaderName::from_static("next-cursor");

const LIMIT_DEFAULT: i64 = 100;
const LIMIT_MAX: i64 = 500;
/// Of a key in a cursor.
const DIGITS: usize = 16;
/// The end of the year 9999.
const MICROSECONDS_MAX: i64 = 253_402_300_799_999_999;

/// Which part of a list is asked for. A row's place in the order is `N` keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Page<const N: usize> {
    pub limit: i64,
    /// Of the last row that the client has seen.
    pub after: Option<[i64; N]>,
    order: char,
}

impl<const N: usize> Page<N> {
    /// `order` is a letter for what the rows are sorted by: a cursor is of use in one order only.
    pub fn of(order: char, limit: Option<i64>, cursor: Option<&str>) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(ApiError::Invalid(format!("limit is out of range; use 1 to {LIMIT_MAX}")));
        }
        let after = cursor.map(|cursor| keys(order, cursor).ok_or_else(unknown)).transpose()?;
        Ok(Self { limit, after, order })
    }

    /// How many rows to read: one more than is shown says that there is another page.
    pub fn rows_to_read(&self) -> i64 {
        self.limit + 1
    }

    /// The page of what was read.
    pub fn cut<T>(&self, mut rows: Vec<T>, keys_of: impl Fn(&T) -> [i64; N]) -> Listed<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more);
        let next =
            last.map(|row| keys_of(row).iter().fold(self.order.to_string(), |text, key| format!("{text}{key:016x}")));
        Listed { rows, next }
    }
}

/// Rows, and the cursor of those that come after them.
#[derive(Debug)]
pub struct Listed<T> {
    pub rows: Vec<T>,
    next: Option<String>,
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.rows).into_response();
        if let Some(value) = self.next.and_then(|cursor| cursor.try_into().ok()) {
            response.headers_mut().insert(NEXT_CURSOR, value);
        }
        response
    }
}

/// A time as a key, as exactly as the database keeps it.
pub fn key_of(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// Whatever a client has made up is some time.
pub fn time_of(key: i64) -> OffsetDateTime {
    let nanoseconds = i128::from(key.clamp(0, MICROSECONDS_MAX)) * 1_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).expect("it is in the years that there are")
}

fn keys<const N: usize>(order: char, cursor: &str) -> Option<[i64; N]> {
    let digits = cursor.strip_prefix(order)?;
    if digits.len() != N * DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut keys = [0; N];
    for (number, key) in keys.iter_mut().enumerate() {
        let digits = &digits[number * DIGITS..(number + 1) * DIGITS];
        *key = u64::from_str_radix(digits, 16).ok()?.cast_signed();
    }
    Some(keys)
}

fn unknown() -> ApiError {
    let message = "cursor is none of a listing in this order; begin again without one";
    ApiError::Invalid(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let page = Page::<2>::of('c', Some(2), None).unwrap();
        assert_eq!((page.after, page.rows_to_read()), (None, 3));
        let keys_of = |row: &i64| [-*row, i64::MAX];
        let listed = page.cut(vec![7, 8, 9], keys_of);
        assert_eq!(listed.rows, [7, 8]);
        let next = Page::<2>::of('c', None, listed.next.as_deref()).unwrap();
        assert_eq!((next.limit, next.after), (100, Some([-8, i64::MAX])));
        assert!(page.cut(vec![7, 8], keys_of).next.is_none());
    }

    #[test]
    fn what_is_no_cursor_of_this_order_is_refused() {
        let cursor = format!("c{:032x}", 1);
        assert!(Page::<2>::of('c', None, Some(&cursor)).is_ok());
        let long = format!("{cursor}0");
        for (order, wrong) in [('d', cursor.as_str()), ('c', ""), ('c', "c"), ('c', &cursor[1..]), ('c', &long)] {
            assert!(Page::<2>::of(order, None, Some(wrong)).is_err(), "{order} {wrong}");
        }
        for wrong in ["+".repeat(32), "ä".repeat(16), "g".repeat(32)] {
            assert!(Page::<2>::of('c', None, Some(&format!("c{wrong}"))).is_err(), "{wrong}");
        }
        for wrong in [0, 501, -1] {
            assert!(Page::<2>::of('c', Some(wrong), None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_kept_to_the_microsecond() {
        let time = time_of(1_764_430_000_123_456);
        assert_eq!((time.microsecond(), key_of(time)), (123_456, 1_764_430_000_123_456));
        for wrong in [i64::MIN, i64::MAX] {
            time_of(wrong);
        }
    }
}
