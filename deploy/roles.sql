-- The three roles and the database. Run once by a superuser with psql:
--   OWNER_PASSWORD=… WORKER_PASSWORD=… WEB_PASSWORD=… psql -v ON_ERROR_STOP=1 -f deploy/roles.sql postgres
-- The owner migrates and runs nothing; worker and web own nothing. What each may do is granted by the migrations.
\getenv owner_password OWNER_PASSWORD
\getenv worker_password WORKER_PASSWORD
\getenv web_password WEB_PASSWORD

CREATE ROLE countersign_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE countersign_worker LOGIN PASSWORD :'worker_password';
CREATE ROLE countersign_web LOGIN PASSWORD :'web_password';

CREATE DATABASE countersign OWNER countersign_owner;
REVOKE ALL ON DATABASE countersign FROM PUBLIC;
GRANT CONNECT ON DATABASE countersign TO countersign_owner, countersign_worker, countersign_web;
