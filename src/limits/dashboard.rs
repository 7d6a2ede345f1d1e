//! The bounds of the dashboard: how far back it looks, and how much it shows.

use std::time::Duration;

/// How often the dashboard takes a snapshot.
pub const DASHBOARD_STEP: Duration = Duration::from_secs(1);
/// Steps from one snapshot to the next that it keeps: two minutes.
pub const DASHBOARD_STEPS_MAX: usize = 120;
/// Steps that its figures of servers and cores are about: few enough to follow what happens.
pub const DASHBOARD_RECENT_STEPS: usize = 5;
/// Steps that its tables are about: enough for pages that are seldom asked for.
pub const DASHBOARD_WINDOW_STEPS: usize = 60;
/// Cores that it shows, each by itself; of more it says how many.
pub const DASHBOARD_CORES_MAX: usize = 256;
/// Upstreams that it shows.
pub const DASHBOARD_UPSTREAMS_MAX: usize = 64;
/// Pages in each of its tables.
pub const DASHBOARD_PAGES_MAX: usize = 8;

const _: () = assert!(DASHBOARD_RECENT_STEPS <= DASHBOARD_WINDOW_STEPS);
const _: () = assert!(DASHBOARD_WINDOW_STEPS <= DASHBOARD_STEPS_MAX);
