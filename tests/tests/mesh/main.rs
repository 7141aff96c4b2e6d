//! Director, pilot and agent in one process, over real sockets.

mod addresses;
mod configs;
mod deployments;
mod director_trouble;
mod full_disks;
mod hoarders;
mod manifests;
mod panics;
mod pilots;
mod power_cuts;
mod promises;
mod records;
mod shared_leases;
mod tls;
mod v1;
mod virtual_ips;

/// The service of the deployment `shop`.
const SHOP: &str = "app.web.shop.boshy";
/// The service of the deployment `blog`.
const BLOG: &str = "app.web.blog.boshy";
