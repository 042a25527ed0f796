//! Clocks and random streams.

use rand_core::Rng;

use super::{Ground, WATCH_MS, cases};
use crate::base::Mono;

cases! {
    "the monotonic clock never goes back" => never_goes_back,
    "a sleep never ends early" => never_early,
    "a sleep until a moment in the past ends at once" => past_is_over,
    "a sleep until NEVER does not end" => never_is_never,
    "a sleep counts from its deadline, not from its first poll" => deadline_is_absolute,
    "a timeout returns the value that was in time and drops what was not" => timeout_decides,
    "one label gives one random stream" => same_label_same_stream,
    "two labels give two random streams" => two_labels_two_streams,
}

async fn never_goes_back(ground: Ground, rule: &'static str) {
    let mut before = ground.env.now();
    for _ in 0..10_000 {
        let now = ground.env.now();
        assert!(before <= now, "{rule}: {before:?}, then {now:?}");
        before = now;
    }
}

async fn never_early(ground: Ground, rule: &'static str) {
    for span_us in [1, 999, 1_000, 1_001, 2_500, 7_000] {
        let deadline = ground.env.now().plus(std::time::Duration::from_micros(span_us));
        ground.soon(rule, ground.env.clock.sleep_until(deadline)).await;
        let now = ground.env.now();
        assert!(deadline <= now, "{rule}: {deadline:?} was the deadline, {now:?} the end");
    }
}

async fn past_is_over(ground: Ground, rule: &'static str) {
    ground.env.sleep_ms(2).await;
    for past in [Mono::default(), ground.env.now()] {
        ground.soon(rule, ground.env.clock.sleep_until(past)).await;
    }
}

async fn never_is_never(ground: Ground, rule: &'static str) {
    let ended = ground.env.timeout_ms(WATCH_MS, ground.env.clock.sleep_until(Mono::NEVER)).await;
    assert!(ended.is_none(), "{rule}");
}

async fn deadline_is_absolute(ground: Ground, rule: &'static str) {
    let clock = &ground.env.clock;
    // An hour of waiting from the first poll would exhaust the patience.
    let sleep = clock.sleep_until(ground.env.now().plus_ms(10));
    clock.sleep_until(ground.env.now().plus_ms(12)).await;
    ground.soon(rule, sleep).await;
}

async fn timeout_decides(ground: Ground, rule: &'static str) {
    assert_eq!(ground.env.timeout_ms(1_000, async { 7 }).await, Some(7), "{rule}");
    let (alive, watch) = tokio::sync::oneshot::channel::<()>();
    let late = async move {
        std::future::pending::<()>().await;
        drop(alive);
    };
    assert_eq!(ground.env.timeout_ms(1, late).await, None, "{rule}");
    assert!(ground.soon(rule, watch).await.is_err(), "{rule}: the future is still there");
}

async fn same_label_same_stream(ground: Ground, rule: &'static str) {
    let (mut one, mut two) = (ground.env.rng("conformance"), ground.env.rng("conformance"));
    for _ in 0..100 {
        assert_eq!(one.next_u64(), two.next_u64(), "{rule}");
    }
}

async fn two_labels_two_streams(ground: Ground, rule: &'static str) {
    let (mut one, mut two) = (ground.env.rng("conformance.a"), ground.env.rng("conformance.b"));
    let equal = (0..100).filter(|_| one.next_u64() == two.next_u64()).count();
    assert_eq!(equal, 0, "{rule}");
}
