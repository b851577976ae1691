"""What an obligation may hang on: a closed list, so that a misspelt trigger is a mistake and not a duty that never comes due."""

TRANSFER_TRIGGERS = frozenset(
    {
        "transfer_planned",
        "first_transfer",
        "foreign_processing",
        "foreign_provider_used",
        "disclosure_to_provider_or_third_party",
        "special_category_transfer_planned",
        "transfer_by_scc_or_bcr",
        "transfer_to_non_adequate",
        "transfer_to_eu",
        "standard_contract_signed",
        "equivalent_measures_transfer",
        "payment_processed_abroad",
        "sale_of_consumer_health",
        "data_brokerage_to_foreign_person",
    }
)
"""Triggers that a transfer may fit; docs/evaluation.md, section 4, says when. `threshold_ID` is another, for each threshold."""

OTHER_TRIGGERS = frozenset(
    {
        "access_request",
        "access_request_simplified",
        "breach_assessed_notifiable",
        "breach_known",
        "breach_suspected",
        "cyber_incident",
        "data_stored_on_order",
        "erasure_request",
        "erasure_request_mixed_database",
        "foreign_targeting",
        "grievance_received",
        "impact_assessment_done",
        "individuals_notified",
        "last_interaction",
        "log_written",
        "portability_request",
        "processing_planned",
        "rectify_or_erase_request",
        "restricted_deal",
        "security_assessment_passed",
        "severe_incident_known",
        "stop_or_erase_request",
        "three_years_inactive_large_platform",
    }
)
"""Triggers that no transfer fits: events in the operator's own house, which these rules do not see."""

THRESHOLD_TRIGGER = "threshold_"
"""Prefix of a trigger that is the id of a threshold: the day the count reaches it."""
