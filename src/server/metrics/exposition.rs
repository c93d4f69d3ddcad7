//! `/metrics`: everything that is counted, in the text format that every Prometheus reads (0.0.4).
//!
//! The names that begin with `pkgserver_` are `PkgServer`'s and mean what they mean there
//! (`metrics.jl`); the others are ours. Labels have few values: kinds, reasons, the sources that an
//! admin configured, the registries that are served; never anything that a client said.

use super::process::Process;
use super::{CLASSES, Metrics, TARGETS};
use crate::mirror::{DiskStatus, Mirror, blocking};
use crate::protocol::Kind;
use crate::server::audit::Audit;
use crate::server::meta::{RegistryStatus, unreadable};
use crate::server::routes::App;
use crate::store::StoreError;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType::{self, Counter, Gauge, Histogram};
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Prometheus' text format. Not `OpenMetrics`, in which the type of a counter goes by another name.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that a scrape says, read at one moment. Nothing here takes longer with a larger cache.
#[derive(Debug)]
struct Scrape {
    app: App,
    mirror: Arc<Mirror>,
    registries: Vec<RegistryStatus>,
    disk: DiskStatus,
    process: Process,
}

/// `/metrics`
pub(in crate::server) async fn metrics(State(app): State<App>) -> Response {
    let mirror = app.mirror();
    let text = blocking(move || Scrape::read(app, mirror).map(Scrape::encode)).await;
    match text.map_err(StoreError::from).and_then(|text| text) {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => unreadable(&std::io::Error::other(error).into()),
        Err(error) => unreadable(&error.into()),
    }
}

impl Scrape {
    fn read(app: App, mirror: Arc<Mirror>) -> Result<Self, StoreError> {
        let registries = RegistryStatus::all(&mirror)?;
        let disk = mirror.disk_status()?;
        Ok(Self { app, mirror, registries, disk, process: Process::read() })
    }

    fn encode(self) -> Result<String, fmt::Error> {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register_collector(Box::new(self));
        encode_registry(&mut text, &registry).map(|()| text)
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Families(encoder);
        self.server(&mut out, self.app.metrics())?;
        self.requests(&mut out)?;
        self.sources(&mut out)?;
        self.registries(&mut out)?;
        self.cache(&mut out)?;
        self.scrub(&mut out)?;
        self.audit(&mut out)?;
        self.process(&mut out)
    }
}

impl Scrape {
    fn server(&self, out: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
        let durations = TARGETS.into_iter().zip(&metrics.durations);
        let help = "HTTP request processing time in seconds";
        let mut family = out.0.encode_descriptor("pkgserver_http_request_duration_seconds", help, None, Histogram)?;
        for (target, durations) in durations {
            let (sum, buckets) = durations.read();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let labels = [("target", target)];
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        out.one(
            Gauge,
            "pkgserver_http_requests_inprogress",
            "Number of requests in progress",
            get(&metrics.in_progress),
        )?;
        let help = "Total number of bytes transmitted to clients";
        out.one(Counter, "pkgserver_transmitted_bytes_total", help, get(&metrics.transmitted))?;
        let help = "Answers by the class of their status";
        let responses = CLASSES.into_iter().zip(metrics.responses.iter().map(get));
        out.each(Counter, "airlock_http_responses_total", help, "class", responses)?;
        let admission = self.app.admission();
        out.one(Gauge, "airlock_http_connections", "Connections that are open", admission.open() as u64)?;
        let help = "Connections that were not taken, or ended before a request, by why";
        let refused = [
            ("too-many", get(&admission.refused)),
            ("too-many-of-client", get(&admission.refused_of_client)),
            ("handshake", get(&admission.failed_handshakes)),
        ];
        out.each(Counter, "airlock_http_connections_refused_total", help, "why", refused)?;
        let help = "Requests whose handler panicked: each is a defect";
        out.one(Counter, "airlock_http_panics_total", help, get(&admission.panics))?;
        if let Some(tls) = self.app.tls().map(|tls| tls.status()) {
            let help = "When the certificate in use expires, in seconds since 1970";
            out.one(Gauge, "airlock_tls_certificate_expiry_timestamp_seconds", help, seconds(tls.expires))?;
            let help = "1 while the files of the certificate cannot be used, so that the old one is";
            out.one(Gauge, "airlock_tls_reload_failed", help, u64::from(tls.last_error.is_some()))?;
        }
        let help = "1 while the configuration file cannot be used, so that the old configuration is";
        out.one(Gauge, "airlock_config_reload_failed", help, u64::from(self.app.reading().failed.is_some()))?;
        let help = "The version of airlock";
        out.each(Gauge, "airlock_build_info", help, "version", [(env!("CARGO_PKG_VERSION"), 1)])?;
        let offline = u64::from(self.mirror.is_offline());
        out.one(Gauge, "airlock_offline", "1 if there is no upstream by decision", offline)
    }

    fn requests(&self, out: &mut Families<'_>) -> fmt::Result {
        let counters = self.mirror.counters();
        let hits = [("memory", get(&counters.memory_hits)), ("disk", get(&counters.disk_hits))];
        let help = "Requests for resources that were here, by where they were";
        out.each(Counter, "airlock_hits_total", help, "from", hits)?;
        let help = "Requests for resources that were answered by a fetch";
        out.one(Counter, "airlock_fetched_total", help, get(&counters.fetched))?;
        let help = "Requests for resources that were refused, by reason";
        out.each(Counter, "airlock_misses_total", help, "reason", counters.misses.each())?;
        let help = "Fetches and verifications under way, one for each resource";
        out.one(Gauge, "airlock_flights_running", help, self.mirror.flights_running() as u64)?;
        let ended = [("fetched", get(&counters.flights_fetched)), ("found", get(&counters.flights_found))];
        let help = "Fetches and verifications that ended, by what they came to";
        let outcomes = ended.into_iter().chain(counters.flights_failed.each());
        out.each(Counter, "airlock_flights_total", help, "outcome", outcomes)?;
        let help = "Total number of bytes received from storage servers";
        out.one(Counter, "pkgserver_received_bytes_total", help, get(&counters.received))?;
        let help = "Number of registry updates from storage servers";
        out.one(Counter, "pkgserver_registry_updates_total", help, get(&counters.registry_updates))?;
        let help = "Files in the cache that wait to be verified or are being verified";
        out.one(Gauge, "airlock_verifications_pending", help, get(&counters.verifying))?;
        let help = "Files in the cache that were found damaged when they were about to be used";
        out.one(Counter, "airlock_damaged_files_total", help, get(&counters.damaged))
    }

    fn sources(&self, out: &mut Families<'_>) -> fmt::Result {
        let sources = self.mirror.sources();
        let all = || sources.iter().map(|(source, health)| (source.name(), health));
        let help = "1 unless the source could not be reached when it was last asked";
        let up = all().map(|(name, health)| (name, u64::from(health.unreachable == 0)));
        out.each(Gauge, "airlock_source_up", help, "source", up)?;
        let help = "1 while a source that could not be reached is left alone";
        let cooling = all().map(|(name, health)| (name, u64::from(health.is_cooling())));
        out.each(Gauge, "airlock_source_cooling", help, "source", cooling)?;
        let help = "1 if the source could be reached and failed when it was last asked for something";
        let failing = all().map(|(name, health)| (name, u64::from(health.state() == "failing")));
        out.each(Gauge, "airlock_source_failing", help, "source", failing)?;
        let help = "Times in a row that a source could not be reached";
        let failures = all().map(|(name, health)| (name, health.unreachable.into()));
        out.each(Gauge, "airlock_source_failures", help, "source", failures)?;
        let help = "When a source last gave what it was asked for, in seconds since 1970";
        let success = all().filter_map(|(name, health)| Some((name, seconds(health.last_success?))));
        out.each(Gauge, "airlock_source_last_success_timestamp_seconds", help, "source", success)?;
        let help = "When a source last said which registries it has, in seconds since 1970";
        let listing = all().filter_map(|(name, health)| Some((name, seconds(health.last_listing?))));
        out.each(Gauge, "airlock_source_last_listing_timestamp_seconds", help, "source", listing)
    }

    fn registries(&self, out: &mut Families<'_>) -> fmt::Result {
        let all = || self.registries.iter().map(|registry| (self.label(registry), registry));
        let help = "When the newest tree of a registry was published here, in seconds since 1970";
        let published = newest(all().filter_map(|(label, registry)| Some((label, seconds(registry.published?)))));
        out.each(Gauge, "airlock_registry_published_timestamp_seconds", help, "registry", published)?;
        let help = "Versions that a derived registry lists: those that are here";
        let versions = newest(all().filter_map(|(label, registry)| Some((label, registry.versions? as u64))));
        out.each(Gauge, "airlock_registry_listed_versions", help, "registry", versions)?;
        let help = "When a registry was last derived to list only what is here, in seconds since 1970";
        let derived = newest(all().filter_map(|(label, registry)| Some((label, seconds(registry.derived?)))));
        out.each(Gauge, "airlock_registry_derived_timestamp_seconds", help, "registry", derived)
    }

    /// A registry by its name, if that is a sane one and no other's: what is in a registry was written by
    /// others.
    fn label(&self, registry: &RegistryStatus) -> String {
        let sane = |name: &&String| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic());
        let is_another = |other: &RegistryStatus| other.uuid != registry.uuid && other.name == registry.name;
        let name = registry.name.as_ref().filter(sane).filter(|_| !self.registries.iter().any(is_another));
        name.map_or_else(|| registry.uuid.to_string(), Clone::clone)
    }

    fn cache(&self, out: &mut Families<'_>) -> fmt::Result {
        // Before the first search of the cache directory nobody knows: no number is better than 0.
        let census = self.mirror.store().census();
        let counted = |which: fn(crate::store::Counted) -> u64| {
            let kinds = census.iter().flat_map(|census| Kind::ALL.map(|kind| (kind, census.of(kind))));
            kinds.map(move |(kind, counted)| (kind.folder(), which(counted)))
        };
        let help = "Current number of cached resource files (registries/packages/artifacts)";
        out.each(Gauge, "pkgserver_cached_resource_files", help, "resource_type", counted(|it| it.files))?;
        let help = "Current number of cached resource bytes (registries/packages/artifacts)";
        out.each(Gauge, "pkgserver_cached_resource_bytes", help, "resource_type", counted(|it| it.bytes))?;
        let help = "Files in quarantine: found damaged, kept to be looked at";
        out.maybe(Gauge, "airlock_quarantine_files", help, census.map(|census| census.quarantined))?;
        let open = self.mirror.open();
        let help = "Distinct resources in the list of misses, by the last search of the cache directory";
        out.maybe(Gauge, "airlock_misses_distinct", help, open.map(|open| open.misses as u64))?;
        let help = "Wishes that are not fulfilled, by the last search of the cache directory";
        out.maybe(Gauge, "airlock_wishes_open", help, open.map(|open| open.wishes as u64))?;
        out.one(
            Gauge,
            "airlock_cache_disk_free_bytes",
            "Bytes that may still be written to the disk of the cache",
            self.disk.free,
        )?;
        out.one(Gauge, "airlock_cache_disk_size_bytes", "Bytes of the disk of the cache", self.disk.size)?;
        let help = "1 while the disk runs low: nothing new is cached";
        out.one(Gauge, "airlock_disk_low", help, u64::from(self.disk.is_low()))?;
        let help = "Resources that were passed on to clients without being cached";
        out.one(Counter, "airlock_uncached_total", help, self.disk.uncached)?;
        let help = "Bytes of small bodies in memory that are asked for often";
        out.one(Gauge, "airlock_hot_memory_bytes", help, self.mirror.hot_bytes())?;
        let help = "Bytes that these bodies may take";
        out.one(Gauge, "airlock_hot_memory_limit_bytes", help, self.app.config().server.hot_memory)
    }

    fn scrub(&self, out: &mut Families<'_>) -> fmt::Result {
        let scrub = self.mirror.scrub_status();
        let help = "Files that were read again to find damage, since the start";
        out.one(Counter, "airlock_scrub_files_total", help, scrub.files)?;
        let help = "Bytes of the files that were read again";
        out.one(Counter, "airlock_scrub_bytes_total", help, scrub.bytes)?;
        let help = "Files that were read again, by what was wrong with them";
        let wrong = [("damaged", scrub.damaged), ("unreadable", scrub.unreadable)];
        out.each(Counter, "airlock_scrub_found_total", help, "what", wrong)?;
        let help = "Files that were found wrong and are here again";
        out.one(Counter, "airlock_scrub_repaired_total", help, scrub.repaired)
    }

    fn audit(&self, out: &mut Families<'_>) -> fmt::Result {
        let audit = self.app.audit();
        let help = "Lines that were written to the audit log";
        out.one(Counter, "airlock_audit_lines_written_total", help, audit.map_or(0, Audit::written))?;
        let help = "Lines of the audit log that were lost";
        out.one(Counter, "airlock_audit_lines_dropped_total", help, audit.map_or(0, Audit::dropped))
    }

    fn process(&self, out: &mut Families<'_>) -> fmt::Result {
        let process = &self.process;
        let help = "Total user and system CPU time in seconds.";
        out.one(Counter, "process_cpu_seconds_total", help, process.cpu_seconds)?;
        let help = "Start time of the process since unix epoch in seconds.";
        out.one(Gauge, "process_start_time_seconds", help, seconds(self.app.started()))?;
        out.maybe(Gauge, "process_virtual_memory_bytes", "Virtual memory size in bytes.", process.virtual_size)?;
        out.maybe(Gauge, "process_resident_memory_bytes", "Resident memory size in bytes.", process.resident)?;
        out.maybe(Gauge, "process_open_fds", "Number of open file descriptors.", process.open_files)
    }
}

/// Writes one family of series after the other.
struct Families<'e>(DescriptorEncoder<'e>);

impl Families<'_> {
    fn one(&mut self, kind: MetricType, name: &str, help: &str, value: impl EncodeGaugeValue + Copy) -> fmt::Result {
        // As a gauge, whatever the kind: a counter would get a second `_total`, and for this format
        // that belongs to the name also where the type is said.
        self.0.encode_descriptor(name, help, None, kind)?.encode_gauge(&value)
    }

    fn maybe(&mut self, kind: MetricType, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.one(kind, name, help, value))
    }

    /// A series for each value of one label; nothing at all if there is none.
    fn each<L: AsRef<str>>(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, number) in values {
            family.encode_family(&[(label, value.as_ref())])?.encode_gauge(&number)?;
        }
        Ok(())
    }
}

/// Two flavors may be at two trees; a series is there once, with the larger number.
fn newest(values: impl Iterator<Item = (String, u64)>) -> std::collections::BTreeMap<String, u64> {
    let mut newest = std::collections::BTreeMap::new();
    for (label, value) in values {
        let known = newest.entry(label).or_insert(value);
        *known = value.max(*known);
    }
    newest
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn seconds(time: jiff::Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or_default()
}
