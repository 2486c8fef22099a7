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
    pub(crate) fn parse(name: &str, domain: &str) -> Option<Self> {
        Self::split(name, domain).map(|(name, _)| name)
    }

    /// Reads `SERVICE.NAMESPACE.svc[.DOMAIN]`: the forms that say of themselves what they are.
    pub(crate) fn parse_full(name: &str, domain: &str) -> Option<Self> {
        Self::split(name, domain).filter(|(_, says_svc)| *says_svc).map(|(name, _)| name)
    }

    fn split(name: &str, domain: &str) -> Option<(Self, bool)> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let mut parts = name.splitn(3, '.');
        let (service, namespace, rest) = (parts.next()?, parts.next()?, parts.next());
        let domain = domain.trim_matches('.');
        let is_cluster = rest.is_none_or(|rest| {
            rest == "svc" || rest.strip_prefix("svc.").is_some_and(|rest| rest.eq_ignore_ascii_case(domain))
        });
        let good = is_cluster && !service.is_empty() && !namespace.is_empty();
        good.then(|| (Self { service: service.to_owned(), namespace: namespace.to_owned() }, rest.is_some()))
    }

    /// All its forms, the longest first.
    #[must_use]
    pub fn forms(&self, domain: &str) -> Vec<String> {
        let (Self { service, namespace }, domain) = (self, domain.trim_matches('.'));
        vec![
            format!("{service}.{namespace}.svc.{domain}"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}"),
        ]
    }
}
