"""What all Flask contenders share; the number and the kind of workers are on the command line."""

from common import BACKLOG, KEEP_ALIVE_S, raise_file_limit

raise_file_limit()

backlog = BACKLOG
# For gthread and gevent; a sync worker closes each connection after its response.
keepalive = KEEP_ALIVE_S
# Connections of a gthread or gevent worker; the default of 1000 would refuse to accept more.
worker_connections = 20_000
# The heartbeat file belongs into memory, says gunicorn's FAQ.
worker_tmp_dir = "/dev/shm"
# For people at a console. Several servers of one user would share its path.
control_socket_disable = True
loglevel = "warning"
# After a run nobody waits for what is still queued.
graceful_timeout = 3
