//! The commands that write, each with the fault points that it passes.

use crate::commands::{Scenario, Start};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");
const GENERAL: &str = "23338594-aafe-5451-b93e-139f81909106";

pub(crate) const SERVE: Scenario = Scenario {
    name: "serve",
    start: Start::Nothing,
    args: &["serve", "--upstream", "{upstream}"],
    code: 0,
    points: &[
        "flight.started",
        "flight.staged",
        "flight.received",
        "publish.verified",
        "publish.synced",
        "publish.renamed",
        "publish.done",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "listing.staged",
        "listing.renamed",
        "misses.appended",
    ],
};

pub(crate) const SERVE_OFFLINE: Scenario = Scenario {
    name: "serve offline",
    start: Start::Inside,
    args: &["serve", "--offline"],
    code: 0,
    points: &[
        "flight.started",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "state.staged",
        "state.renamed",
        "misses.appended",
        "view.published",
        "view.recorded",
        "view.listed",
    ],
};

pub(crate) const PREWARM: Scenario = Scenario {
    name: "prewarm",
    start: Start::Nothing,
    args: &["prewarm", "--platform", "all", "--upstream", "{upstream}", DEMO],
    code: 0,
    points: &[
        "flight.started",
        "flight.staged",
        "flight.received",
        "publish.verified",
        "publish.synced",
        "publish.renamed",
        "publish.done",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "listing.staged",
        "listing.renamed",
        "state.staged",
        "state.renamed",
        "activity.noted",
        "prewarm.planned",
        "prewarm.package",
        "prewarm.done",
    ],
};

pub(crate) const PREWARM_BY_NAME: Scenario = Scenario {
    name: "prewarm by name",
    start: Start::Nothing,
    args: &[
        "prewarm",
        "--upstream",
        "{upstream}",
        "--add",
        "Lantern",
        "--julia",
        "1.10",
        "--write-manifest",
        "env",
        "--force",
    ],
    code: 0,
    points: &[
        "flight.started",
        "flight.staged",
        "flight.received",
        "publish.verified",
        "publish.synced",
        "publish.renamed",
        "publish.done",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "listing.staged",
        "listing.renamed",
        "state.staged",
        "state.renamed",
        "activity.noted",
        "outside.staged",
        "outside.renamed",
        "prewarm.planned",
        "prewarm.package",
        "prewarm.done",
    ],
};

pub(crate) const PREWARM_GIT: Scenario = Scenario {
    name: "prewarm git",
    start: Start::Repository,
    args: &["prewarm", "--git", "--upstream", "{upstream}", "project"],
    code: 0,
    points: &[
        "flight.started",
        "flight.staged",
        "flight.received",
        "publish.verified",
        "publish.synced",
        "publish.renamed",
        "publish.done",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "listing.staged",
        "listing.renamed",
        "state.staged",
        "state.renamed",
        "activity.noted",
        "clone.made",
        "clone.moved",
        "clone.renamed",
        "repository.synced",
        "repository.renamed",
        "prewarm.planned",
        "prewarm.done",
    ],
};

pub(crate) const ADOPT: Scenario = Scenario {
    name: "adopt",
    start: Start::Depot,
    args: &["adopt", "depot"],
    code: 0,
    points: &[
        "publish.verified",
        "publish.synced",
        "publish.renamed",
        "publish.done",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "listing.staged",
        "listing.renamed",
        "activity.noted",
        "adopt.staged",
        "adopt.published",
        "adopt.listed",
    ],
};

pub(crate) const IMPORT: Scenario = Scenario {
    name: "import",
    start: Start::Bundle,
    args: &["bundle", "import", "b1.tar", "b2.tar"],
    code: 0,
    points: &[
        "publish.verified",
        "publish.synced",
        "publish.renamed",
        "publish.done",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "listing.staged",
        "listing.renamed",
        "state.staged",
        "state.renamed",
        "view.published",
        "view.recorded",
        "view.listed",
        "activity.noted",
        "repository.synced",
        "repository.renamed",
        "import.checked",
        "import.staged",
        "import.batch",
        "import.listed",
        "import.recorded",
    ],
};

pub(crate) const EXPORT: Scenario = Scenario {
    name: "export",
    start: Start::Warm,
    args: &["bundle", "export", "out"],
    code: 0,
    points: &[
        "flight.started",
        "facts.appended",
        "state.staged",
        "state.renamed",
        "activity.noted",
        "export.hashed",
        "export.packed",
        "export.recorded",
        "export.named",
        "export.renamed",
    ],
};

pub(crate) const KEYGEN: Scenario = Scenario {
    name: "keygen",
    start: Start::Nothing,
    args: &["bundle", "keygen", "--no-password", "out/us"],
    code: 0,
    points: &["outside.staged", "outside.renamed"],
};

pub(crate) const REQUEST_ADD: Scenario = Scenario {
    name: "request add",
    start: Start::Warm,
    args: &["request", "add", "Faraway"],
    code: 0,
    points: &["flight.started", "facts.appended", "ledger.appended", "ledger.synced", "wishes.appended"],
};

pub(crate) const REQUEST_REMOVE: Scenario = Scenario {
    name: "request remove",
    start: Start::Asked,
    args: &["request", "remove", "Faraway"],
    code: 0,
    points: &["state.staged", "state.renamed"],
};

pub(crate) const REQUEST_EXPORT: Scenario = Scenario {
    name: "request export",
    start: Start::Asked,
    args: &["request", "export", "request.json"],
    code: 0,
    points: &[
        "flight.started",
        "facts.appended",
        "state.staged",
        "state.renamed",
        "activity.noted",
        "outside.staged",
        "outside.renamed",
    ],
};

pub(crate) const MISSES_EXPORT: Scenario = Scenario {
    name: "misses export",
    start: Start::Asked,
    args: &["misses", "export", "misses.txt"],
    code: 0,
    points: &["flight.started", "facts.appended", "outside.staged", "outside.renamed"],
};

pub(crate) const MISSES_CLEAR: Scenario = Scenario {
    name: "misses clear",
    start: Start::Asked,
    args: &["misses", "clear"],
    code: 0,
    points: &["misses.staged"],
};

pub(crate) const UPDATE: Scenario = Scenario {
    name: "update",
    start: Start::Moved,
    args: &["registries", "update", "--upstream", "{upstream}"],
    code: 0,
    points: &[
        "flight.started",
        "flight.staged",
        "flight.received",
        "publish.verified",
        "publish.synced",
        "publish.renamed",
        "publish.done",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "listing.staged",
        "listing.renamed",
    ],
};

pub(crate) const ROLLBACK: Scenario = Scenario {
    name: "rollback",
    start: Start::Moved,
    args: &["registries", "rollback", GENERAL, "{tree}"],
    code: 0,
    points: &[
        "flight.started",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "listing.staged",
        "listing.renamed",
        "activity.noted",
    ],
};

pub(crate) const PIN: Scenario = Scenario {
    name: "pin",
    start: Start::Moved,
    args: &["registries", "pin", GENERAL, "{tree}"],
    code: 0,
    points: &[
        "flight.started",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "listing.staged",
        "listing.renamed",
        "state.staged",
        "state.renamed",
        "activity.noted",
    ],
};

pub(crate) const BASELINE: Scenario = Scenario {
    name: "baseline",
    start: Start::Warm,
    args: &["policy", "baseline"],
    code: 0,
    points: &["flight.started", "facts.appended", "ledger.appended", "ledger.synced", "activity.noted"],
};

pub(crate) const GC: Scenario = Scenario {
    name: "gc",
    start: Start::Inside,
    args: &["gc", "--yes", DEMO],
    code: 0,
    points: &["facts.appended", "activity.noted", "gc.planned", "gc.removed", "gc.emptied", "gc.done"],
};

pub(crate) const VERIFY: Scenario = Scenario {
    name: "verify",
    start: Start::Damaged,
    args: &["verify"],
    code: 1,
    points: &["facts.appended", "quarantine.moved", "activity.noted"],
};

pub(crate) const REPAIR: Scenario = Scenario {
    name: "verify --repair",
    start: Start::Damaged,
    args: &["verify", "--repair", "--upstream", "{upstream}"],
    code: 0,
    points: &[
        "flight.started",
        "flight.staged",
        "flight.received",
        "publish.verified",
        "publish.synced",
        "publish.renamed",
        "publish.done",
        "facts.appended",
        "ledger.appended",
        "ledger.synced",
        "generations.appended",
        "quarantine.moved",
        "activity.noted",
    ],
};

/// All of them.
pub(crate) const ALL: [Scenario; 21] = [
    SERVE,
    SERVE_OFFLINE,
    PREWARM,
    PREWARM_BY_NAME,
    PREWARM_GIT,
    ADOPT,
    IMPORT,
    EXPORT,
    KEYGEN,
    REQUEST_ADD,
    REQUEST_REMOVE,
    REQUEST_EXPORT,
    MISSES_EXPORT,
    MISSES_CLEAR,
    UPDATE,
    ROLLBACK,
    PIN,
    BASELINE,
    GC,
    VERIFY,
    REPAIR,
];
