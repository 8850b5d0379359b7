//! Rate limits: passwords tried, accounts made, messages sent. Each replica counts for itself, in memory.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, Method, request::Parts},
    middleware::Next,
    response::Response,
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};

use crate::{Backend, auth::Caller, config::LimitsConfig, error::ApiError};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Keys that are back at their full quota are removed after this many checks.
const CHECKS_BETWEEN_CLEANUPS: u32 = 1_024;

pub struct Limits {
    passwords_of_account: Limit<String>,
    passwords_from_address: Limit<IpAddr>,
    sign_ups_from_address: Limit<IpAddr>,
    messages_of_user: Limit<String>,
    trusted_proxies: usize,
}

impl Limits {
    pub fn new(config: &LimitsConfig) -> Self {
        Self {
            passwords_of_account: Limit::new(config.passwords_per_account, MonotonicClock),
            passwords_from_address: Limit::new(config.passwords_per_address, MonotonicClock),
            sign_ups_from_address: Limit::new(config.sign_ups_per_address, MonotonicClock),
            messages_of_user: Limit::new(config.messages_per_user, MonotonicClock),
            trusted_proxies: config.trusted_proxies,
        }
    }

    /// Counts a password that is about to be checked. The address comes first, so that one client can't use up the
    /// attempts of many accounts.
    pub fn take_password(&self, address: IpAddr, email: &str) -> Result<(), ApiError> {
        const MESSAGE: &str = "too many passwords were tried; wait as long as Retry-After says";
        let taken = self.passwords_from_address.take(network(address));
        let taken = taken.and_then(|()| self.passwords_of_account.take(email.to_owned()));
        taken.map_err(|seconds| ApiError::TooMany("too_many_passwords", MESSAGE, seconds))
    }

    pub fn take_sign_up(&self, address: IpAddr) -> Result<(), ApiError> {
        const MESSAGE: &str = "too many accounts were made from this address; wait as long as Retry-After says";
        let taken = self.sign_ups_from_address.take(network(address));
        taken.map_err(|seconds| ApiError::TooMany("too_many_sign_ups", MESSAGE, seconds))
    }

    pub fn take_message(&self, user_id: &str) -> Result<(), ApiError> {
        const MESSAGE: &str = "too many messages were sent; wait as long as Retry-After says";
        let taken = self.messages_of_user.take(user_id.to_owned());
        taken.map_err(|seconds| ApiError::TooMany("too_many_messages", MESSAGE, seconds))
    }
}

/// Counts messages to the assistant by their user.
pub async fn limit_messages(
    State(backend): State<Backend>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if !is_message(&request) {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &backend).await?;
    backend.limits.take_message(&caller.user_id)?;
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Whether the assistant is asked something, which may take long.
pub fn is_message(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    request.method() == Method::POST && path == Some("/api/conversations/{id}/messages")
}

/// Where the request comes from, as far as the proxies in front are to be believed.
pub struct ClientAddress(pub IpAddr);

impl FromRequestParts<Backend> for ClientAddress {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, backend: &Backend) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let peer = peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        Ok(Self(client_address(&parts.headers, peer, backend.limits.trusted_proxies)))
    }
}

/// Each proxy adds the address of its own peer at the end of `X-Forwarded-For`; what is further left than the trusted
/// proxies may be anything.
fn client_address(headers: &HeaderMap, peer: IpAddr, trusted_proxies: usize) -> IpAddr {
    let values = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let entries: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    match entries.get(entries.len().saturating_sub(trusted_proxies)) {
        Some(entry) => parse_address(entry).unwrap_or(peer),
        None => peer,
    }
}

fn parse_address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    text.parse().or_else(|_| with_port()).ok()
}

/// What one client can't easily leave: an address of IPv4, the 64 bits of a network of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

type Limiter<K, C> = RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// So many at once, and as many again in each minute after; none where there is no limit.
struct Limit<K: Clone + Eq + Hash, C: Clock = MonotonicClock> {
    limiter: Option<Limiter<K, C>>,
    clock: C,
    checks: AtomicU32,
}

impl<K: Clone + Eq + Hash, C: Clock + Clone> Limit<K, C> {
    fn new(per_minute: Option<NonZeroU32>, clock: C) -> Self {
        let limiter = per_minute
            .map(|count| RateLimiter::new(Quota::per_minute(count), HashMapStateStore::default(), clock.clone()));
        Self { limiter, clock, checks: AtomicU32::new(0) }
    }

    /// Fails with the seconds after which it would succeed.
    fn take(&self, key: K) -> Result<(), u64> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.checks.fetch_add(1, Relaxed) % CHECKS_BETWEEN_CLEANUPS == CHECKS_BETWEEN_CLEANUPS - 1 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        limiter.check_key(&key).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            // Rounded up: who comes exactly then is let in.
            wait.as_secs() + 1
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::HeaderValue;
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn only_what_trusted_proxies_added_is_believed() {
        let peer: IpAddr = "10.0.0.9".parse().unwrap();
        for (values, trusted_proxies, wanted) in [
            (&[][..], 0, "10.0.0.9"),
            (&[], 1, "10.0.0.9"),
            (&["192.0.2.1"], 0, "10.0.0.9"),
            (&["192.0.2.1"], 1, "192.0.2.1"),
            (&["198.51.100.7, 192.0.2.1"], 1, "192.0.2.1"),
            (&["198.51.100.7", "192.0.2.1"], 1, "192.0.2.1"),
            (&["198.51.100.7, 192.0.2.1, 10.0.0.5"], 2, "192.0.2.1"),
            // Past the outer proxy.
            (&["192.0.2.1"], 2, "192.0.2.1"),
            (&["2001:db8::1"], 1, "2001:db8::1"),
            (&["[2001:db8::1]:80"], 1, "2001:db8::1"),
            (&["192.0.2.1:80"], 1, "192.0.2.1"),
            (&["unknown"], 1, "10.0.0.9"),
            (&["192.0.2.1,"], 1, "10.0.0.9"),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
            }
            let found = client_address(&headers, peer, trusted_proxies);
            assert_eq!(found.to_string(), wanted, "{headers:?} {trusted_proxies}");
        }
    }

    #[test]
    fn a_client_of_ipv6_is_its_network() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn a_limit_is_for_each_key_and_fills_again() {
        let clock = FakeRelativeClock::default();
        let limit: Limit<&str, _> = Limit::new(NonZeroU32::new(6), clock.clone());
        for _ in 0..6 {
            assert_eq!(limit.take("ann"), Ok(()));
        }
        // One is given back every 10 s.
        assert_eq!(limit.take("ann"), Err(11));
        assert_eq!(limit.take("bob"), Ok(()));
        clock.advance(Duration::from_secs(9));
        assert_eq!(limit.take("ann"), Err(2));
        clock.advance(Duration::from_secs(1));
        assert_eq!(limit.take("ann"), Ok(()));
        assert_eq!(limit.take("ann"), Err(11));
    }

    #[test]
    fn no_limit_is_none() {
        let limit: Limit<u8> = Limit::new(None, MonotonicClock);
        assert!((0..1_000).all(|_| limit.take(1).is_ok()));
    }

    #[test]
    fn keys_that_are_not_used_any_more_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let limit: Limit<u32, _> = Limit::new(NonZeroU32::new(6), clock.clone());
        let count = || limit.limiter.as_ref().unwrap().len();
        for key in 0..CHECKS_BETWEEN_CLEANUPS - 1 {
            limit.take(key).unwrap();
        }
        assert_eq!(count(), CHECKS_BETWEEN_CLEANUPS as usize - 1);
        clock.advance(Duration::from_secs(61));
        limit.take(0).unwrap();
        assert_eq!(count(), 1);
    }

    #[test]
    fn one_address_does_not_use_up_the_attempts_of_an_account() {
        let limits = Limits::new(&LimitsConfig {
            passwords_per_account: NonZeroU32::new(3),
            passwords_per_address: NonZeroU32::new(2),
            sign_ups_per_address: None,
            messages_per_user: None,
            trusted_proxies: 1,
        });
        let try_from = |last: u8| limits.take_password(Ipv4Addr::new(192, 0, 2, last).into(), "ann@example.org");
        for (address, is_taken) in [(1, true), (1, true), (1, false), (1, false), (2, true), (2, false), (3, false)] {
            assert_eq!(try_from(address).is_ok(), is_taken, "{address}");
        }
    }
}
