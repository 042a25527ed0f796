//! Long polling: answers parked pulls when a message arrives, when their time is over, when their connection is gone.

use std::sync::Arc;

use crate::base::Mono;
use crate::broker::core::Core;
use crate::broker::handler::pull;
use crate::broker::handler::pull::Parked;
use crate::machine::hold::Effect;
use crate::machine::hold::Why;

/// Answers pulls at their deadline. Arrivals are answered by the turn that made the message readable.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        let deadline = core.holds.lock().next_deadline().unwrap_or(Mono::NEVER);
        let timer = core.env.clock.sleep_until(deadline);
        let earlier = core.wake.hold.notified();
        tokio::select! {
            biased;
            () = timer => {
                let mut effects = Vec::new();
                core.holds.lock().on_timer(core.env.now(), &mut effects);
                carry_out(&core, effects);
            }
            () = earlier => {}
        }
    }
}

pub(crate) fn carry_out(core: &Arc<Core>, effects: Vec<Effect<Parked>>) {
    for Effect::Answer { token, why, .. } in effects {
        match why {
            Why::Arrived | Why::Expired | Why::Stopped => pull::answer_parked(core, token),
            Why::Gone => {}
        }
    }
}
