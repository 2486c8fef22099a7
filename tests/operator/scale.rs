//! Many Repositories in the pool: all get ready, all are served, and when nothing changes nothing is written.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::kube::{Tenant, controllers, count_ready, metric, quiet};
use tests::wait;

const MANY: usize = 500;

#[test]
#[ignore = "needs a cluster"]
fn five_hundred_repositories_are_served_and_idle_ones_cost_no_write() -> Result<()> {
    let tenant = Tenant::new("many")?;
    tenant.create_many(MANY)?;
    wait::until("all to be ready", Duration::from_mins(3), || {
        std::thread::sleep(Duration::from_secs(1));
        Ok((count_ready(&tenant)? == MANY).then_some(()))
    })?;
    tenant.prepare()?;
    for name in ["repo0", "repo250", "repo499"] {
        tenant.clone(name)?;
        tenant.push(name, "one")?.accepted()?;
    }
    // Status follows a push by some seconds; then there is nothing more to say.
    quiet()?;
    ensure!(count_ready(&tenant)? == MANY, "they are still ready");
    let counted = metric(&controllers()?[0], r#"codekeep_controller_resources{kind="Repository",ready="True"}"#)?;
    ensure!(counted >= 500.0, "the controller counts {counted}");
    Ok(())
}
