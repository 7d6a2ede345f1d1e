//! (being built)
/// t
pub struct Site;
impl Site {
    /// t
    pub fn upstreams(&self) -> &[UpstreamPlan] {
        &[]
    }
}
/// t
pub struct UpstreamPlan {
    /// t
    pub max_connections: usize,
    /// t
    pub max_idle: usize,
    /// t
    pub idle_timeout: std::time::Duration,
    /// t
    pub deadline: std::time::Duration,
    /// t
    pub header_timeout: std::time::Duration,
    /// t
    pub connect_timeout: std::time::Duration,
    /// t
    pub max_body: u64,
    /// t
    pub authority: String,
    /// t
    pub host: String,
}
