//! placeholder
/// x
pub struct ReportView;
/// x
pub fn report() {}
