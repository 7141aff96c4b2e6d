//! Manifests of one job in one group.

/// A manifest under construction: group `web`, job `app`, one instance, port 8080 named `http`.
#[derive(Clone, Debug)]
pub struct Manifest {
    name: String,
    instances: u32,
    expose_ports: String,
    jobs: u32,
}

impl Manifest {
    /// The manifest of a deployment; its service is `app.web.NAME.boshy`.
    pub fn of(name: &str) -> Self {
        Self { name: name.to_owned(), instances: 1, expose_ports: "[{name: http, number: 8080}]".to_owned(), jobs: 1 }
    }

    /// Sets the number of instances.
    #[must_use]
    pub fn instances(self, instances: u32) -> Self {
        Self { instances, ..self }
    }

    /// Sets `expose_ports`, as YAML on one line.
    #[must_use]
    pub fn exposing(self, expose_ports: &str) -> Self {
        Self { expose_ports: expose_ports.to_owned(), ..self }
    }

    /// Sets the number of jobs: `app`, and from the second on `app1`, `app2` and so on.
    #[must_use]
    pub fn jobs(self, jobs: u32) -> Self {
        Self { jobs, ..self }
    }

    /// Name of the deployment.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As YAML.
    pub fn text(&self) -> String {
        let Self { name, instances, expose_ports, .. } = self;
        let head = include_str!("../fixtures/manifests/one_job.yml")
            .replace("NAME", name)
            .replace("INSTANCES", &instances.to_string())
            .replace("EXPOSE_PORTS", expose_ports);
        let job = |number| format!("  - {{name: app{number}, release: sample, expose_ports: {expose_ports}}}\n");
        (1..self.jobs).map(job).fold(head, |text, job| text + &job)
    }
}
