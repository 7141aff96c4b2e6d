//! The routes. There is one file per topic. Each answer is a function of the request and the director's state.

mod asked;
mod configs;
mod converge;
mod deployments;
mod events;
mod instances;
mod legacy_configs;
mod releases;
mod tasks;

use boshy_mesh::Timestamp;
use serde_json::json;

use self::asked::Asked;
use super::{
    World,
    auth::{Authentication, Gate, Right},
    request::{Answer, Kind, Request},
};
use boshy_director::wire::{AuthOptions, Feature, Features, Info, UserAuthentication};

/// What answers requests: the director's identity, state and authorization, without a network.
#[derive(Debug)]
pub(super) struct DirectorApi {
    pub(super) name: String,
    pub(super) uuid: String,
    pub(super) world: World,
    pub(super) gate: Gate,
    pub(super) ssh_hint: String,
}

type Handler = fn(&mut World, &Asked<'_>, &[String]) -> Result<Answer, Answer>;

/// A route: the name under which it is counted, the required permission, and the handler.
struct Route {
    label: &'static str,
    right: Right,
    /// Whether it exists only in a director with VMs.
    needs_vms: bool,
    handler: Handler,
}

const fn read(label: &'static str, handler: Handler) -> Route {
    Route { label, right: Right::Read, needs_vms: false, handler }
}

const fn read_by(right: Right, label: &'static str, handler: Handler) -> Route {
    Route { right, ..read(label, handler) }
}

const fn write(label: &'static str, handler: Handler) -> Route {
    Route { label, right: Right::Write, needs_vms: false, handler }
}

const fn order(label: &'static str, handler: Handler) -> Route {
    Route { label, right: Right::Write, needs_vms: true, handler }
}

fn route(method: &str, segments: &[&str]) -> Option<Route> {
    Some(match (method, segments) {
        ("GET", ["deployments"]) => read_by(Right::List, "GET /deployments", deployments::list),
        ("POST", ["deployments"]) => write("POST /deployments", deployments::deploy),
        ("GET", ["deployments", _]) => read_by(Right::ReadOwn, "GET /deployments/:name", deployments::manifest),
        ("DELETE", ["deployments", _]) => write("DELETE /deployments/:name", deployments::delete),
        ("POST", ["deployments", _, "diff"]) => write("POST /deployments/:name/diff", deployments::diff),
        ("GET", ["deployments", _, "instances"]) => {
            read_by(Right::ReadOwn, "GET /deployments/:name/instances", instances::instances)
        }
        ("GET", ["deployments", _, "vms"]) => read_by(Right::ReadOwn, "GET /deployments/:name/vms", instances::vms),
        ("GET", ["deployments", _, "jobs", _, _]) => write("GET /deployments/:name/jobs/:group/:id", instances::job),
        ("PUT", ["deployments", _, "jobs"] | ["deployments", _, "jobs", _] | ["deployments", _, "jobs", _, _]) => {
            order("PUT /deployments/:name/jobs", converge::change_state)
        }
        ("GET", ["deployments", _, "jobs", _, _, "logs"]) => {
            order("GET /deployments/:name/jobs/:group/:id/logs", converge::logs)
        }
        ("GET", ["resources", _]) => write("GET /resources/:id", converge::resource),
        ("POST", ["deployments", _, "ssh"]) => write("POST /deployments/:name/ssh", converge::ssh),
        ("GET", ["deployments", _, "errands"]) => read("GET /deployments/:name/errands", converge::errands),
        ("POST", ["deployments", _, "errands", _, "runs"]) => {
            write("POST /deployments/:name/errands/:errand/runs", converge::run_errand)
        }
        ("GET", ["deployment_configs"]) => read("GET /deployment_configs", converge::deployment_configs),
        ("GET", ["cloud_configs" | "runtime_configs" | "cpi_configs"]) => {
            read("GET /:type_configs", legacy_configs::list)
        }
        ("POST", ["cloud_configs" | "runtime_configs" | "cpi_configs"]) => {
            write("POST /:type_configs", legacy_configs::post)
        }
        ("POST", ["cloud_configs" | "runtime_configs" | "cpi_configs", "diff"]) => {
            write("POST /:type_configs/diff", legacy_configs::diff)
        }
        ("POST", ["deployments", _, "instance_groups", _, _, "actions", _]) => {
            write("POST /deployments/:name/instance_groups/:group/:id/actions/:action", instances::action)
        }
        ("GET", ["tasks"]) => read_by(Right::List, "GET /tasks", tasks::list),
        ("GET", ["tasks", _]) => read_by(Right::List, "GET /tasks/:id", tasks::one),
        ("GET", ["tasks", _, "output"]) => read("GET /tasks/:id/output", tasks::output),
        ("GET", ["releases"]) => read_by(Right::List, "GET /releases", releases::list),
        ("GET", ["releases", _]) => read("GET /releases/:name", releases::inspect),
        ("POST", ["releases"]) => order("POST /releases", releases::upload),
        ("DELETE", ["releases", _]) => order("DELETE /releases/:name", releases::delete),
        ("POST", ["packages", "matches"]) => write("POST /packages/matches", releases::package_matches),
        ("POST", ["packages", "matches_compiled"]) => {
            write("POST /packages/matches_compiled", releases::compiled_matches)
        }
        ("GET", ["stemcells"]) => read_by(Right::List, "GET /stemcells", releases::stemcells),
        ("POST", ["stemcells"]) => order("POST /stemcells", releases::upload_stemcell),
        ("POST", ["stemcell_uploads"]) => write("POST /stemcell_uploads", releases::needs_stemcell),
        ("DELETE", ["stemcells", _, _]) => order("DELETE /stemcells/:name/:version", releases::delete_stemcell),
        ("GET", ["deployments", _, "variables"]) => read("GET /deployments/:name/variables", releases::variables),
        ("GET", ["link_providers" | "link_consumers" | "links"]) => read("GET /links", releases::links),
        ("DELETE", ["task", _]) => write("DELETE /task/:id", tasks::cancel),
        ("GET", ["locks"]) => read("GET /locks", tasks::locks),
        ("GET", ["events"]) => read_by(Right::ReadAny, "GET /events", events::list),
        ("GET", ["events", _]) => write("GET /events/:id", events::one),
        ("GET", ["configs"]) => read_by(Right::ReadAny, "GET /configs", configs::list),
        ("GET", ["configs", _]) => read("GET /configs/:id", configs::one),
        ("POST", ["configs"]) => write("POST /configs", configs::post),
        ("POST", ["configs", "diff"]) => write("POST /configs/diff", configs::diff),
        ("DELETE", ["configs"]) => write("DELETE /configs", configs::delete_all),
        ("DELETE", ["configs", _]) => write("DELETE /configs/:id", configs::delete_one),
        _ => return None,
    })
}

/// The name under which a request is counted.
pub(super) fn label(request: &Request) -> &'static str {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["info"]) => "GET /info",
        ("POST", ["oauth", "token"]) => "POST /oauth/token",
        ("GET", ["login"]) => "GET /login",
        (method, segments) => route(method, segments).map_or("unknown", |route| route.label),
    }
}

impl DirectorApi {
    /// Answers a request.
    pub(super) fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        let segments = request.segments();
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), names.as_slice()) {
            ("GET", ["info"]) => Answer::json(&self.info(request, now)),
            ("POST", ["oauth", "token"]) => self.gate.token(request, now),
            ("GET", ["login"]) => self.gate.prompts(),
            (method, names) => match route(method, names) {
                Some(route) => self.answer_by(&route, request, &segments, now),
                None => Answer::text(404, Kind::Plain, format!("Not Found: {}", request.path)),
            },
        }
    }

    fn answer_by(&mut self, route: &Route, request: &Request, segments: &[String], now: Timestamp) -> Answer {
        if route.needs_vms && !self.world.has_vms {
            return Answer::text(404, Kind::Plain, format!("Not Found: {}", request.path));
        }
        let Some(caller) = self.gate.caller(request, now) else {
            return Answer::text(401, Kind::Html, format!("Not authorized: '{}'\n", request.path));
        };
        let owned = segments.get(1).filter(|_| route.right == Right::ReadOwn);
        let owners = owned.and_then(|name| self.world.deployments.get(name)).map_or(&[][..], |record| &record.teams);
        if let Some(refused) = self.gate.refuse(&caller, route.right, owners) {
            return refused;
        }
        let only_teams = self.gate.only_teams(&caller);
        let asked = Asked { request, caller: &caller, only_teams, now, ssh_hint: &self.ssh_hint };
        (route.handler)(&mut self.world, &asked, segments).unwrap_or_else(|refused| refused)
    }

    fn info(&self, request: &Request, now: Timestamp) -> Info {
        let user_authentication = match &self.gate.authentication {
            Authentication::Basic(_) => {
                UserAuthentication { kind: "basic".to_owned(), options: AuthOptions::default() }
            }
            Authentication::Uaa { .. } => {
                let url = format!("https://{}", request.host);
                let options = AuthOptions { url: Some(url.clone()), urls: Some(vec![url]) };
                UserAuthentication { kind: "uaa".to_owned(), options }
            }
        };
        let feature = |status, extras| Some(Feature { status, extras });
        let features = Features {
            local_dns: feature(true, Some(json!({"domain_name": "bosh"}))),
            snapshots: feature(false, None),
            config_server: feature(self.world.has_vms, Some(json!({"urls": []}))),
        };
        Info {
            name: self.name.clone(),
            uuid: self.uuid.clone(),
            version: "283.1.4 (00000000)".to_owned(),
            user: self.gate.caller(request, now).map(|caller| caller.name),
            cpi: "warden_cpi".to_owned(),
            stemcell_os: "-".to_owned(),
            stemcell_version: "-".to_owned(),
            user_authentication,
            features,
        }
    }
}

#[cfg(test)]
#[path = "fixture_tests.rs"]
mod fixture_tests;
