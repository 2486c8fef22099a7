//! The names that a Service has in a cluster. Pure.

/// A Service of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceName {
    /// The Service.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
}

impl ServiceName {
    /// Reads `SERVICE.NAMESPACE[.svc[.DOMAIN]]`.
    pub(super) fn parse(name: &str, domain: &str) -> Option<Self> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let mut parts = name.splitn(3, '.');
        let (service, namespace) = (parts.next()?, parts.next()?);
        let rest = parts.next().unwrap_or("svc");
        let is_cluster = rest == "svc" || rest.strip_prefix("svc.").is_some_and(|rest| rest.eq_ignore_ascii_case(domain));
        let good = is_cluster && !service.is_empty() && !namespace.is_empty();
        good.then(|| Self { service: service.to_owned(), namespace: namespace.to_owned() })
    }

    /// All its forms, the longest first.
    #[must_use]
    pub fn forms(&self, domain: &str) -> Vec<String> {
        let Self { service, namespace } = self;
        vec![
            format!("{service}.{namespace}.svc.{domain}"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}"),
        ]
    }
}
