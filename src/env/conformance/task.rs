//! Tasks that end with their owner.

use tokio::sync::{mpsc, oneshot};

use super::{Ground, cases};

cases! {
    "a task runs while its owner does something else" => runs,
    "dropping a task drops its future" => drop_aborts,
    "a detached task runs on" => detached_runs_on,
    "dropping a task that has ended harms nobody" => drop_after_end,
    "tasks that take turns both go on" => turns_are_fair,
    "work done aside gives its result" => aside_tells,
}

async fn runs(ground: Ground, rule: &'static str) {
    let (send, receive) = oneshot::channel();
    let _task = ground.env.spawn("conformance", async move {
        let _ = send.send(7);
    });
    assert_eq!(ground.soon(rule, receive).await, Ok(7), "{rule}");
}

async fn aside_tells(ground: Ground, rule: &'static str) {
    let sum = ground.env.aside(|| (1..=100u32).sum::<u32>());
    assert_eq!(ground.soon(rule, sum).await, Some(5_050), "{rule}");
}

async fn drop_aborts(ground: Ground, rule: &'static str) {
    let (started, start) = oneshot::channel();
    let (alive, watch) = oneshot::channel::<()>();
    let task = ground.env.spawn("conformance", async move {
        let _alive = alive;
        let _ = started.send(());
        std::future::pending::<()>().await;
    });
    assert!(ground.soon(rule, start).await.is_ok(), "{rule}: it never started");
    drop(task);
    assert!(ground.soon(rule, watch).await.is_err(), "{rule}");
}

async fn detached_runs_on(ground: Ground, rule: &'static str) {
    let (go, gone) = oneshot::channel();
    let (send, receive) = oneshot::channel();
    let task = ground.env.spawn("conformance", async move {
        let _ = gone.await;
        let _ = send.send(7);
    });
    task.detach();
    ground.env.sleep_ms(5).await;
    assert!(go.send(()).is_ok(), "{rule}: it was dropped");
    assert_eq!(ground.soon(rule, receive).await, Ok(7), "{rule}");
}

async fn drop_after_end(ground: Ground, rule: &'static str) {
    let (send, receive) = oneshot::channel::<()>();
    let task = ground.env.spawn("conformance", async move { drop(send) });
    assert!(ground.soon(rule, receive).await.is_err(), "{rule}");
    ground.env.sleep_ms(1).await;
    drop(task);
}

async fn turns_are_fair(ground: Ground, rule: &'static str) {
    let (to_b, mut from_a) = mpsc::channel::<u32>(1);
    let (to_a, mut from_b) = mpsc::channel::<u32>(1);
    let _b = ground.env.spawn("conformance", async move {
        while let Some(number) = from_a.recv().await {
            if to_a.send(number + 1).await.is_err() {
                return;
            }
        }
    });
    for number in 0..100 {
        assert!(to_b.send(number).await.is_ok(), "{rule}");
        assert_eq!(ground.soon(rule, from_b.recv()).await, Some(number + 1), "{rule}");
    }
}
