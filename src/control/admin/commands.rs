//! What can be asked of a server by its admin listener: to read its site again, and to hand over
//! to a new binary. The answer comes when it is done.

use std::sync::Arc;

use super::{AdminResponse, Routes};
use crate::control::overview::{Command, Overview, Reply};

/// `POST /reload` and `POST /upgrade`.
pub fn commands(overview: &Arc<Overview>) -> Routes {
    let (reload, upgrade) = (Arc::clone(overview), Arc::clone(overview));
    Routes::default()
        .post("/reload", move |_| tell(reload.ask(Command::Reload)))
        .post("/upgrade", move |_| tell(upgrade.ask(Command::Upgrade)))
}

fn tell(reply: Reply) -> AdminResponse {
    match reply {
        Reply::Done(how) => AdminResponse::text(200, format!("{how}\n")),
        Reply::Configuration(why) => AdminResponse::text(422, format!("{why}\n")),
        Reply::Failed(why) => AdminResponse::text(500, format!("{why}\n")),
    }
}
