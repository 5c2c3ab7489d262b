from hypothesis import HealthCheck, settings

# A deadline would measure the machine, not the rules, and a shared machine is slow at times.
settings.register_profile("rules", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("rules")
