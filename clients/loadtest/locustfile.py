"""The load test's users where locust looks for them: in a folder that has nothing else; see README.md beside this file.

locust -f clients/loadtest/locustfile.py --headless --host http://127.0.0.1:8080 --rate 20 --run-time 60s
"""

from vlp_loadtest.entry.locustfile import *  # noqa: F403
