from hypothesis import HealthCheck, settings

# A deadline measures the machine, not the rules: two cores shared by many are slow at times.
settings.register_profile("rules", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("rules")
